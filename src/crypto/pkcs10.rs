//! PKCS #10 (RFC 2986) parsed: only the used parts of a CSR are read, and each fault names its place.
//!
//! The CSR's own signature covers all of its first part, so the unused parts may be anything: a subject of unusual strings,
//! unknown attributes, or none.

use x509_parser::asn1_rs::oid;
use x509_parser::oid_registry::Oid;

use super::der::{self, Fault, Reader, Value};

/// The parts of a CSR.
#[derive(Clone, Copy, Debug)]
pub struct Pkcs10<'d> {
    /// The part that is signed.
    pub info: Value<'d>,
    pub subject: Value<'d>,
    pub public_key: Value<'d>,
    attributes: Option<Value<'d>>,
    pub algorithm: Value<'d>,
    /// The signature algorithm's object identifier.
    pub algorithm_oid: Value<'d>,
    pub algorithm_parameters: Option<Value<'d>>,
    pub signature: Value<'d>,
    /// The signature's bytes without the count of unused bits before them.
    pub signature_bytes: &'d [u8],
}

/// An extension that a CSR asks for.
#[derive(Clone, Debug)]
pub struct Wish<'d> {
    /// The offset of its first byte.
    pub at: usize,
    pub oid: Oid<'d>,
    /// The value of the extension, in DER.
    pub value: &'d [u8],
}

/// The attributes that ask for extensions: PKCS #9's, and an older one of Microsoft's.
static EXTENSION_REQUESTS: [Oid<'static>; 2] =
    [oid!(1.2.840.113549.1.9.14), oid!(1.3.6.1.4.1.311.2.1.14)];

impl<'d> Pkcs10<'d> {
    /// Parses a CSR in DER.
    pub fn read(bytes: &'d [u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(bytes);
        let whole = reader.value(der::SEQUENCE, "the request")?;
        reader.end("the request")?;
        let mut parts = whole.values();
        let info = parts.value(der::SEQUENCE, "the request's first part")?;
        let algorithm = parts.value(der::SEQUENCE, "the signature algorithm")?;
        let signature = parts.value(der::BIT_STRING, "the signature")?;
        parts.end("the request")?;

        let mut parts = info.values();
        read_version(parts.value(der::INTEGER, "the version")?)?;
        let subject = parts.value(der::SEQUENCE, "the subject")?;
        let public_key = parts.value(der::SEQUENCE, "the public key")?;
        // RFC 2986 requires them even when there are none, and some tools leave them out then.
        let attributes = if parts.is_empty() {
            None
        } else {
            Some(parts.value(der::CONTEXT_0, "the list of attributes")?)
        };
        parts.end("the request's first part")?;

        let mut parts = algorithm.values();
        let algorithm_oid = parts.value(der::OBJECT_IDENTIFIER, "the signature algorithm")?;
        let algorithm_parameters = if parts.is_empty() {
            None
        } else {
            Some(parts.any("the signature algorithm")?)
        };
        parts.end("the signature algorithm")?;
        Ok(Self {
            info,
            subject,
            public_key,
            attributes,
            algorithm,
            algorithm_oid,
            algorithm_parameters,
            signature,
            signature_bytes: whole_bytes(&signature)?,
        })
    }

    /// The signature algorithm's object identifier, in a form that can be compared and shown.
    pub fn algorithm_oid(&self) -> Oid<'d> {
        Oid::new(self.algorithm_oid.content.into())
    }

    /// The extensions that the CSR asks for, in all of its attributes: a second list must not be missed.
    pub fn wishes(&self) -> Result<Vec<Wish<'d>>, Fault> {
        let mut wishes = Vec::new();
        let Some(attributes) = self.attributes else {
            return Ok(wishes);
        };
        let mut attributes = attributes.values();
        while !attributes.is_empty() {
            let attribute = attributes.value(der::SEQUENCE, "an attribute")?;
            let mut parts = attribute.values();
            let kind = parts.value(der::OBJECT_IDENTIFIER, "an attribute's type")?;
            if EXTENSION_REQUESTS
                .iter()
                .any(|known| known.as_bytes() == kind.content)
            {
                let mut lists = parts.value(der::SET, "the requested extensions")?.values();
                while !lists.is_empty() {
                    let list = lists.value(der::SEQUENCE, "the requested extensions")?;
                    read_wishes(list.values(), &mut wishes)?;
                }
            }
        }
        Ok(wishes)
    }
}

fn read_wishes<'d>(mut list: Reader<'d>, wishes: &mut Vec<Wish<'d>>) -> Result<(), Fault> {
    while !list.is_empty() {
        let extension = list.value(der::SEQUENCE, "a requested extension")?;
        let mut parts = extension.values();
        let oid = parts.value(der::OBJECT_IDENTIFIER, "a requested extension's type")?;
        let mut value = parts.any("a requested extension's value")?;
        if value.tag == der::BOOLEAN {
            value = parts.any("a requested extension's value")?;
        }
        if value.tag != der::OCTET_STRING {
            return Err(Fault {
                part: "a requested extension's value",
                at: value.at,
                how: "has another type than it should have",
            });
        }
        parts.end("a requested extension")?;
        wishes.push(Wish {
            at: extension.at,
            oid: Oid::new(oid.content.into()),
            value: value.content,
        });
    }
    Ok(())
}

/// Checks the version. PKCS #10 has one, and its number is 0. Tools that write the number of X.509's version 2 or 3
/// mean the same, and the version changes nothing in the parsing.
fn read_version(version: Value<'_>) -> Result<(), Fault> {
    if matches!(version.content, [0..=2]) {
        return Ok(());
    }
    Err(Fault {
        part: "the version",
        at: version.at,
        how: "is not known",
    })
}

fn whole_bytes<'d>(bits: &Value<'d>) -> Result<&'d [u8], Fault> {
    match bits.content.split_first() {
        Some((0, bytes)) => Ok(bytes),
        _ => Err(Fault {
            part: "the signature",
            at: bits.at,
            how: "is not made of whole bytes",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &[u8] = &[2, 1, 0];
    const SUBJECT: &[u8] = &[0x30, 0];
    const KEY: &[u8] = &[0x30, 0];
    const ALGORITHM: &[u8] = &[0x30, 3, 6, 1, 0x2a];
    const SIGNATURE: &[u8] = &[3, 2, 0, 7];

    fn request(info: &[&[u8]], rest: &[&[u8]]) -> Vec<u8> {
        let info = der::value(der::SEQUENCE, info);
        let parts = [&[&info[..]], rest].concat();
        der::value(der::SEQUENCE, &parts)
    }

    #[test]
    fn what_is_not_used_may_be_anything() {
        let odd: &[u8] = &[0xa0, 9, 0x30, 7, 6, 1, 0x2a, 0xff, 0xff, 0xff, 0xff];
        let long_subject = der::value(der::SEQUENCE, &[&[0xff; 9]]);
        for info in [
            &[VERSION, SUBJECT, KEY][..],
            &[VERSION, SUBJECT, KEY, &[0xa0, 0]],
            &[VERSION, SUBJECT, KEY, odd],
            &[&[2, 1, 2], SUBJECT, KEY],
            &[VERSION, &long_subject, KEY],
        ] {
            let bytes = request(info, &[ALGORITHM, SIGNATURE]);
            let read = Pkcs10::read(&bytes).unwrap();
            assert_eq!(read.public_key.raw, KEY, "{info:?}");
            assert_eq!(read.signature_bytes, [7], "{info:?}");
            assert_eq!(read.wishes().unwrap().len(), 0, "{info:?}");
        }
    }

    #[test]
    fn another_structure_is_refused_with_its_place() {
        let info = &[VERSION, SUBJECT, KEY][..];
        let longer = [request(info, &[ALGORITHM, SIGNATURE]), vec![0]].concat();
        for (bytes, words) in [
            (vec![], "the request, at byte 0, is missing"),
            (longer, "the request, at byte 20, has bytes after its end"),
            (
                request(info, &[ALGORITHM]),
                "the signature, at byte 16, is missing",
            ),
            (
                request(info, &[ALGORITHM, &[3, 2, 1, 6]]),
                "is not made of whole bytes",
            ),
            (
                request(info, &[ALGORITHM, &[3, 0]]),
                "is not made of whole bytes",
            ),
            (
                request(info, &[ALGORITHM, SIGNATURE, &[5, 0]]),
                "bytes after its end",
            ),
            (
                request(info, &[&[0x30, 0], SIGNATURE]),
                "the signature algorithm, at byte 13, is missing",
            ),
            (
                request(info, &[&[0x30, 7, 6, 1, 0x2a, 5, 0, 5, 0], SIGNATURE]),
                "the signature algorithm, at byte 18, has bytes after its end",
            ),
            (
                request(&[SUBJECT, KEY], &[ALGORITHM, SIGNATURE]),
                "the version, at byte 4",
            ),
            (
                request(&[&[2, 1, 3], SUBJECT, KEY], &[ALGORITHM, SIGNATURE]),
                "the version, at byte 4, is not known",
            ),
            (
                request(&[&[2, 2, 0, 0], SUBJECT, KEY], &[ALGORITHM, SIGNATURE]),
                "the version, at byte 4, is not known",
            ),
            (
                request(
                    &[VERSION, SUBJECT, KEY, &[0x31, 0]],
                    &[ALGORITHM, SIGNATURE],
                ),
                "the list of attributes, at byte 11, has another type",
            ),
            (
                request(
                    &[VERSION, SUBJECT, KEY, &[0xa0, 0], &[5, 0]],
                    &[ALGORITHM, SIGNATURE],
                ),
                "the request's first part, at byte 13, has bytes after its end",
            ),
        ] {
            let fault = Pkcs10::read(&bytes).map(|_| ()).unwrap_err().to_string();
            assert!(fault.contains(words), "{bytes:?}: {fault}");
        }
    }

    #[test]
    fn wishes_are_found_in_every_attribute_that_asks() {
        let extension = |last: u8| {
            let oid = der::value(der::OBJECT_IDENTIFIER, &[&[0x55, 0x1d, last]]);
            der::value(der::SEQUENCE, &[&oid, &[1, 1, 0xff], &[4, 1, last]])
        };
        let asking = |kind: &Oid<'_>, last: u8| {
            let oid = der::value(der::OBJECT_IDENTIFIER, &[kind.as_bytes()]);
            let list = der::value(der::SEQUENCE, &[&extension(last)]);
            let empty = der::value(der::SEQUENCE, &[]);
            let set = der::value(der::SET, &[&list, &empty]);
            der::value(der::SEQUENCE, &[&oid, &set])
        };
        let [ours, microsofts] = &EXTENSION_REQUESTS;
        let three = [asking(ours, 15), asking(microsofts, 19), asking(ours, 17)].concat();
        let attributes = der::value(der::CONTEXT_0, &[&three]);
        let bytes = request(
            &[VERSION, SUBJECT, KEY, &attributes],
            &[ALGORITHM, SIGNATURE],
        );
        let read = Pkcs10::read(&bytes).unwrap();
        let found = read.wishes().unwrap();
        let found: Vec<_> = found.iter().map(|wish| wish.value).collect();
        assert_eq!(found, [[15], [19], [17]]);
    }
}
