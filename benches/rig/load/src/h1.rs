//! HTTP/1.1 as a client: the request's bytes, made once, and a reader that finds where each answer ends.

use crate::options::Options;
use crate::tally::Tally;

/// The requests, in their order. Without forms it is one, sent again and again.
pub fn requests(options: &Options) -> Vec<Vec<u8>> {
    if options.forms.is_empty() {
        return vec![request(options, None)];
    }
    let forms = options.forms.iter();
    forms.map(|form| request(options, Some(form))).collect()
}

fn request(options: &Options, form: Option<&str>) -> Vec<u8> {
    let method = if options.upload > 0 || form.is_some() {
        "POST"
    } else {
        "GET"
    };
    let mut text = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\n",
        options.path, options.host
    );
    for (name, value) in &options.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if options.upload > 0 {
        text.push_str(&format!("Content-Length: {}\r\n", options.upload));
    }
    if let Some(form) = form {
        text.push_str(&format!(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            form.len()
        ));
    }
    text.push_str("\r\n");
    text.push_str(form.unwrap_or_default());
    text.into_bytes()
}

/// Reads the answers of one connection. It keeps only what spans two reads.
#[derive(Default)]
pub struct Reader {
    head: Vec<u8>,
    body: Body,
}

#[derive(Default)]
enum Body {
    /// The head is still being read.
    #[default]
    NotYet,
    Chunked(Tail),
    Length(u64),
}

impl Reader {
    /// Whether an answer ended within `data`.
    pub fn read(&mut self, data: &[u8], tally: &mut Tally) -> bool {
        let mut data = data;
        let mut finished = false;
        while !data.is_empty() {
            if let Body::NotYet = self.body {
                data = self.read_head(data, tally);
            }
            let ended = match &mut self.body {
                Body::NotYet => false,
                Body::Chunked(tail) => {
                    tail.push(data);
                    data = &[];
                    tail.ends_body()
                }
                Body::Length(left) => {
                    let taken = (*left).min(data.len() as u64);
                    *left -= taken;
                    data = &data[taken as usize..];
                    *left == 0
                }
            };
            if ended {
                self.body = Body::NotYet;
                finished = true;
            }
        }
        finished
    }

    /// Consumes up to the end of the head and returns the rest; leaves the body `NotYet` while the head is incomplete.
    fn read_head<'a>(&mut self, data: &'a [u8], tally: &mut Tally) -> &'a [u8] {
        let searched = self.head.len().saturating_sub(3);
        self.head.extend_from_slice(data);
        let Some(found) = find(&self.head[searched..], b"\r\n\r\n") else {
            return &[];
        };
        let end = searched + found + 4;
        let rest = &data[data.len() - (self.head.len() - end)..];
        self.head.truncate(end);
        self.head.make_ascii_lowercase();
        if !self.head.starts_with(b"http/1.1 200") {
            tally.non200 += 1;
            if tally.non200 < 3 {
                eprintln!("unexpected answer: {}", String::from_utf8_lossy(&self.head));
            }
        }
        self.body = match content_length(&self.head) {
            Some(length) => Body::Length(length),
            None if find(&self.head, b"chunked").is_some() => Body::Chunked(Tail::default()),
            None => Body::Length(0),
        };
        self.head.clear();
        rest
    }
}

/// The last five bytes of a chunked body. The upstream's payload is all `x`, so the last chunk cannot be imitated and
/// the chunks between need no parsing.
#[derive(Default)]
pub struct Tail([u8; 5]);

impl Tail {
    pub fn push(&mut self, data: &[u8]) {
        if let Some(last) = data.last_chunk::<5>() {
            self.0 = *last;
        } else {
            self.0.rotate_left(data.len());
            self.0[5 - data.len()..].copy_from_slice(data);
        }
    }

    pub fn ends_body(&self) -> bool {
        &self.0 == b"0\r\n\r\n"
    }
}

/// The value in a head that is already lower-case.
pub fn content_length(head: &[u8]) -> Option<u64> {
    let start = find(head, b"content-length:")? + b"content-length:".len();
    let line = head[start..].split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_where_they_end_however_they_are_cut() {
        let answers: &[&[u8]] = &[
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nxxx",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxxx\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ];
        for answer in answers {
            for cut in 1..answer.len() {
                let (mut reader, mut tally) = (Reader::default(), Tally::default());
                assert!(!reader.read(&answer[..cut], &mut tally), "{cut}");
                assert!(reader.read(&answer[cut..], &mut tally), "{cut}");
                assert_eq!(tally.non200, 0);
            }
        }
    }
}
