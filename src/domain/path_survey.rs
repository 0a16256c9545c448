//! A slow look at a path that has an escape, a semicolon, a backslash or an odd segment: what every reader makes of it.
//!
//! The readers that matter decode more than once, fold look-alike characters and overlong UTF-8, take a backslash for
//! a slash, cut a segment at `#`, `?` or `;`, trim blanks, merge slashes and resolve dots. The most eager one does all
//! of that.

use std::fmt::Write;
use std::ops::Range;

use super::lookalikes::{is_blank, read_as};
use super::oddity::{Oddities, Oddity};
use super::path_fault::{InvalidPath, PathFault};

/// The result of a survey: the form that is matched, and other readings.
#[derive(Debug)]
pub struct Survey {
    /// The form that is matched.
    pub text: String,
    pub readings: Option<Readings>,
}

/// Other readings of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readings {
    pub oddities: Oddities,
    /// The first place of each kind in the path as it came.
    pub places: Vec<(Oddity, Range<usize>)>,
    /// The paths that other readers see.
    pub others: Vec<String>,
    /// The least depth at which any reader is after a `..`; it may be above the root.
    pub floor: i32,
}

impl Readings {
    /// The first place of a kind that is not `allowed`.
    pub fn first_beyond(&self, allowed: Oddities) -> Option<(Oddity, Range<usize>)> {
        let refused = self.places.iter();
        let refused = refused.filter(|(kind, _)| !allowed.contains(*kind));
        refused.min_by_key(|(_, place)| place.start).cloned()
    }
}

/// Looks at `raw`, which begins with `/` and holds printable ASCII without `#` and `?`.
pub fn survey(raw: &str) -> Result<Survey, InvalidPath> {
    let mut found = Found::default();
    let (text, bytes) = decode(raw, &mut found)?;
    let letters = letters(&decode_again(bytes, &mut found), &mut found);
    let eager = Eager::of(&letters, &mut found);
    let mut others = vec![eager.path];
    others.extend(eager.truncated);
    if found.oddities.contains(Oddity::Semicolons) {
        others.push(bare(&text));
    }
    let mut distinct: Vec<String> = Vec::with_capacity(others.len());
    for other in others {
        if other != text && !distinct.contains(&other) {
            distinct.push(other);
        }
    }
    let readings = (!found.oddities.is_empty() || eager.was_cut).then_some(Readings {
        oddities: found.oddities,
        places: found.places,
        others: distinct,
        floor: eager.floor,
    });
    Ok(Survey { text, readings })
}

#[derive(Default)]
struct Found {
    oddities: Oddities,
    places: Vec<(Oddity, Range<usize>)>,
}

impl Found {
    fn note(&mut self, kind: Oddity, place: Range<usize>) {
        if !self.oddities.contains(kind) {
            self.oddities.insert(kind);
            self.places.push((kind, place));
        }
    }

    /// Notes what a byte is that somebody may take for syntax.
    fn note_byte(&mut self, byte: u8, place: Range<usize>) {
        match byte {
            b'\\' => self.note(Oddity::Backslashes, place),
            b';' => self.note(Oddity::Semicolons, place),
            b'%' => self.note(Oddity::EncodedPercents, place),
            b'/' if place.len() > 1 => self.note(Oddity::EncodedSlashes, place),
            _ => {}
        }
    }
}

/// A byte or a character, and the bytes of the path that it was written with.
type Placed<T> = (T, Range<usize>);

/// Decodes every escape once. Gives the form that is matched besides.
fn decode(raw: &str, found: &mut Found) -> Result<(String, Vec<Placed<u8>>), InvalidPath> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(raw.len());
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte != b'%' {
            text.push(char::from(byte));
            found.note_byte(byte, at..at + 1);
            decoded.push((byte, at..at + 1));
            continue;
        }
        let mut digit = || bytes.next().and_then(|(_, digit)| hex(digit));
        let fault = |fault, length| InvalidPath { fault, at, length };
        let value = digit().zip(digit()).map(|(high, low)| high << 4 | low);
        let value = value.ok_or_else(|| fault(PathFault::Escape, 1))?;
        if value < b' ' || value == 0x7f {
            return Err(fault(PathFault::Control, 3));
        }
        found.note_byte(value, at..at + 3);
        decoded.push((value, at..at + 3));
        if value.is_ascii_alphanumeric() || b"-._~".contains(&value) {
            text.push(char::from(value));
        } else {
            text.push('%');
            for half in [value >> 4, value & 15] {
                let digit = DIGITS.get(usize::from(half)).copied();
                text.push(char::from(digit.unwrap_or(b'0')));
            }
        }
    }
    Ok((text, decoded))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Decodes what one decoding left, for as long as there is something to decode. Each byte is looked at a bounded number
/// of times: an escape that is complete is replaced where it stands.
fn decode_again(once: Vec<Placed<u8>>, found: &mut Found) -> Vec<Placed<u8>> {
    if !found.oddities.contains(Oddity::EncodedPercents) {
        return once;
    }
    let mut out: Vec<Placed<u8>> = Vec::with_capacity(once.len());
    for (byte, place) in once {
        out.push((byte, place));
        while let Some((value, start, end)) = last_escape(&out) {
            out.truncate(out.len() - 3);
            found.note_byte(value, start..end);
            out.push((value, start..end));
        }
    }
    out
}

/// The escape that ends `bytes`.
fn last_escape(bytes: &[Placed<u8>]) -> Option<(u8, usize, usize)> {
    let [(b'%', from), (high, _), (low, to)] = bytes.last_chunk()? else {
        return None;
    };
    Some((hex(*high)? << 4 | hex(*low)?, from.start, to.end))
}

/// The characters of a path, as those read it who fold look-alikes and overlong UTF-8.
fn letters(bytes: &[Placed<u8>], found: &mut Found) -> Vec<Placed<char>> {
    let mut letters = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, place)) = rest.first() {
        if byte.is_ascii() {
            letters.push((char::from(*byte), place.clone()));
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let (read, length) = leading(rest);
        let end = rest.get(length - 1).map_or(place.end, |(_, last)| last.end);
        let place = place.start..end;
        match read {
            Leading::Character(character) => match read_as(character) {
                Some(others) => {
                    found.note(Oddity::Lookalikes, place.clone());
                    letters.extend(others.chars().map(|other| (other, place.clone())));
                }
                None => letters.push((character, place)),
            },
            Leading::Overlong(character) => {
                found.note(Oddity::NotUtf8, place.clone());
                found.note(Oddity::Lookalikes, place.clone());
                letters.push((character, place));
            }
            Leading::Nonsense => {
                found.note(Oddity::NotUtf8, place.clone());
                letters.push((char::REPLACEMENT_CHARACTER, place));
            }
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    letters
}

enum Leading {
    Character(char),
    /// An ASCII character in more bytes than it needs.
    Overlong(char),
    Nonsense,
}

/// The first element of `bytes`, and its length.
fn leading(bytes: &[Placed<u8>]) -> (Leading, usize) {
    let mut window = [0; 4];
    for (to, (from, _)) in window.iter_mut().zip(bytes) {
        *to = *from;
    }
    let valid = match std::str::from_utf8(&window) {
        Ok(text) => text,
        Err(error) => window
            .get(..error.valid_up_to())
            .and_then(|valid| std::str::from_utf8(valid).ok())
            .unwrap_or_default(),
    };
    if let Some(character) = valid.chars().next() {
        return (Leading::Character(character), character.len_utf8());
    }
    match overlong(window) {
        Some((character, length)) => (Leading::Overlong(character), length),
        None => (Leading::Nonsense, 1),
    }
}

fn overlong(window: [u8; 4]) -> Option<(char, usize)> {
    let follows = |byte: u8| (byte & 0xc0 == 0x80).then_some(u32::from(byte & 0x3f));
    let (value, length) = match window {
        [0xc0 | 0xc1, last, ..] => (u32::from(window[0] & 1) << 6 | follows(last)?, 2),
        [0xe0, high, last, _] => (follows(high)? << 6 | follows(last)?, 3),
        [0xf0, 0x80, high, last] => (follows(high)? << 6 | follows(last)?, 4),
        _ => return None,
    };
    let character = char::from_u32(value).filter(char::is_ascii)?;
    Some((character, length))
}

/// The most eager reading.
struct Eager {
    path: String,
    /// The same of those who take the first `#` or `?` for the path's end.
    truncated: Option<String>,
    /// A segment was cut or trimmed.
    was_cut: bool,
    floor: i32,
}

impl Eager {
    fn of(letters: &[Placed<char>], found: &mut Found) -> Self {
        let (mut way, mut raw_segment) = (Way::default(), RawSegment::default());
        let (mut truncated, mut was_cut) = (None, false);
        // What comes first is a slash.
        let (mut start, mut rest) = (1, letters.get(1..).unwrap_or_default());
        loop {
            let end = rest
                .iter()
                .position(|(letter, _)| matches!(letter, '/' | '\\'));
            let piece = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let slash = end.and_then(|end| rest.get(end));
            let (name, ends) = shortened(piece);
            note_segment(piece, name, start, slash.is_none(), found);
            was_cut |= name.len() != piece.len();
            raw_segment.take(name, &mut way);
            way.step(name, slash.is_none());
            if ends && truncated.is_none() {
                truncated = Some(way.text(false));
            }
            let Some((letter, place)) = slash else { break };
            // An encoded slash, or a backslash, does not end a segment to everybody.
            if *letter == '/' && place.len() == 1 {
                raw_segment.end(&mut way);
            }
            start = place.end;
            rest = rest.get(piece.len() + 1..).unwrap_or_default();
        }
        Self {
            path: way.text(true),
            truncated,
            was_cut,
            floor: way.floor,
        }
    }
}

/// Notes what is odd about a segment of which `name` is left.
fn note_segment(
    piece: &[Placed<char>],
    name: &[Placed<char>],
    start: usize,
    last: bool,
    found: &mut Found,
) {
    let no_name = piece.is_empty() || (name.is_empty() && begins_with(piece, ';'));
    if no_name && !last {
        let slash = start.saturating_sub(1);
        found.note(Oddity::EmptySegments, slash..start);
    }
    if is_dots(name) {
        let end = piece.last().map_or(start, |(_, place)| place.end);
        found.note(Oddity::DotSegments, start..end);
    }
}

fn begins_with(piece: &[Placed<char>], letter: char) -> bool {
    piece.first().is_some_and(|(first, _)| *first == letter)
}

/// A segment without what some cut off it, and whether that began with `#` or `?`.
fn shortened(piece: &[Placed<char>]) -> (&[Placed<char>], bool) {
    let cut = piece
        .iter()
        .position(|(letter, _)| matches!(letter, '#' | '?' | ';'));
    let ends = piece.iter().any(|(letter, _)| matches!(letter, '#' | '?'));
    let mut name = piece.get(..cut.unwrap_or(piece.len())).unwrap_or_default();
    while let [(first, _), rest @ ..] = name
        && is_blank(*first)
    {
        name = rest;
    }
    while let [rest @ .., (last, _)] = name
        && is_blank(*last)
    {
        name = rest;
    }
    (name, ends)
}

fn is_dots(name: &[Placed<char>]) -> bool {
    matches!(name, [('.', _)] | [('.', _), ('.', _)])
}

/// A segment of the path as it came, which some readers take for several.
#[derive(Default)]
struct RawSegment {
    goes_up: bool,
    has_a_name: bool,
}

impl RawSegment {
    fn take(&mut self, name: &[Placed<char>], way: &mut Way) {
        if name.len() == 2 && is_dots(name) {
            self.goes_up = true;
            way.depth -= 1;
            way.floor = way.floor.min(way.depth);
        } else if !name.is_empty() && !is_dots(name) {
            self.has_a_name = true;
        }
    }

    /// Goes down by one where every reader does.
    fn end(&mut self, way: &mut Way) {
        if self.has_a_name && !self.goes_up {
            way.depth += 1;
        }
        *self = Self::default();
    }
}

/// The position of a reader that has resolved the segments so far.
struct Way {
    segments: Vec<String>,
    /// The path ends with a slash.
    open: bool,
    /// The least depth that any reader can be at, and the least of these after a `..`.
    depth: i32,
    floor: i32,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            segments: Vec::new(),
            open: false,
            depth: 0,
            floor: i32::MAX,
        }
    }
}

impl Way {
    fn step(&mut self, name: &[Placed<char>], last: bool) {
        self.open = last && (name.is_empty() || is_dots(name));
        match name {
            [] | [('.', _)] => {}
            [('.', _), ('.', _)] => {
                self.segments.pop();
            }
            name => self.segments.push(encoded(name)),
        }
    }

    /// The path in the form that is matched.
    fn text(&self, whole: bool) -> String {
        let mut text = String::new();
        for segment in &self.segments {
            text.push('/');
            text.push_str(segment);
        }
        if text.is_empty() || (whole && self.open) {
            text.push('/');
        }
        text
    }
}

/// A segment in the form that is matched: what came encoded and is not unreserved stays encoded.
fn encoded(name: &[Placed<char>]) -> String {
    let mut text = String::with_capacity(name.len());
    for (letter, place) in name {
        if place.len() == 1 || letter.is_ascii_alphanumeric() || "-._~".contains(*letter) {
            text.push(*letter);
            continue;
        }
        for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
            let _never_fails = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// A path without the parameters of its segments.
fn bare(text: &str) -> String {
    let name = |segment: &str| {
        let cut = [segment.find(';'), segment.find("%3B")];
        let end = cut.into_iter().flatten().min().unwrap_or(segment.len());
        segment.get(..end).unwrap_or_default().to_owned()
    };
    let names: Vec<String> = text.split('/').map(name).collect();
    names.join("/")
}
