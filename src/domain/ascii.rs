//! Short texts of a bounded length that need no place on the heap and no formatter: every request writes a few.

/// At most `N` characters of ASCII.
#[derive(Clone, Copy, Debug)]
pub struct Ascii<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Ascii<N> {
    /// No characters, and room for `N`.
    pub const EMPTY: Self = Self {
        bytes: [0; N],
        length: 0,
    };

    /// Appends `text`, which is ASCII. What there is no room for is left out as a whole.
    #[must_use]
    pub fn and(mut self, text: &[u8]) -> Self {
        debug_assert!(text.is_ascii(), "only ASCII is a text wherever it is cut");
        let end = self.length.saturating_add(text.len());
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(text);
            self.length = end;
        }
        self
    }

    /// Appends the hexadecimal digits of `bytes`, in lower case, two a byte.
    #[must_use]
    pub fn and_hex(mut self, bytes: &[u8]) -> Self {
        let end = self.length.saturating_add(bytes.len().saturating_mul(2));
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            data_encoding::HEXLOWER.encode_mut(bytes, room);
            self.length = end;
        }
        self
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_grows_as_far_as_its_room() {
        let text = Ascii::<6>::EMPTY.and(b"ab").and_hex(&[0x0f, 0xa0]);
        assert_eq!(text.as_str(), "ab0fa0");
        assert_eq!(text.and(b"c").and_hex(&[1]).as_str(), "ab0fa0");
        assert_eq!(Ascii::<1>::EMPTY.and(b"").as_str(), "");
    }
}
