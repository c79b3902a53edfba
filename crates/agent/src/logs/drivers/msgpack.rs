//! The little of MessagePack that the forward protocol needs. Pure.

/// Appends values.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn array(&mut self, length: u32) {
        self.0.push(0xdd);
        self.0.extend(length.to_be_bytes());
    }

    pub(super) fn map(&mut self, length: u32) {
        self.0.push(0xdf);
        self.0.extend(length.to_be_bytes());
    }

    pub(super) fn string(&mut self, text: &str) {
        let length = text.len();
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(length @ 0..=31), _) => self.0.push(0xa0 | length),
            (Ok(length), _) => self.0.extend([0xd9, length]),
            (_, Ok(length)) => {
                self.0.push(0xda);
                self.0.extend(length.to_be_bytes());
            }
            _ => {
                self.0.push(0xdb);
                self.0.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
        self.0.extend(text.as_bytes());
    }

    pub(super) fn unsigned(&mut self, value: u32) {
        self.0.push(0xce);
        self.0.extend(value.to_be_bytes());
    }

    /// The forward protocol's time with nanoseconds: extension 0 of eight bytes.
    pub(super) fn event_time(&mut self, seconds: u32, nanoseconds: u32) {
        self.0.extend([0xd7, 0x00]);
        self.0.extend(seconds.to_be_bytes());
        self.0.extend(nanoseconds.to_be_bytes());
    }
}

/// The string under `key` in a map of strings.
pub(super) fn string_of_map(bytes: &[u8], key: &str) -> Option<String> {
    let mut rest = bytes;
    let pairs = match take(&mut rest, 1)?[0] {
        byte @ 0x80..=0x8f => usize::from(byte & 0x0f),
        0xde => usize::from(u16::from_be_bytes(take(&mut rest, 2)?.try_into().ok()?)),
        _ => return None,
    };
    for _ in 0..pairs {
        let name = string(&mut rest)?;
        let value = string(&mut rest)?;
        if name == key {
            return Some(value);
        }
    }
    None
}

fn string(rest: &mut &[u8]) -> Option<String> {
    let length = match take(rest, 1)?[0] {
        byte @ 0xa0..=0xbf => usize::from(byte & 0x1f),
        0xd9 | 0xc4 => usize::from(take(rest, 1)?[0]),
        0xda => usize::from(u16::from_be_bytes(take(rest, 2)?.try_into().ok()?)),
        _ => return None,
    };
    String::from_utf8(take(rest, length)?.to_vec()).ok()
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_have_the_shortest_head() {
        for (length, head) in [(0, vec![0xa0]), (31, vec![0xbf]), (32, vec![0xd9, 32]), (256, vec![0xda, 1, 0])] {
            let mut writer = Writer::default();
            writer.string(&"x".repeat(length));
            assert_eq!(writer.0[..head.len()], head);
            assert_eq!(writer.0.len(), head.len() + length);
        }
    }

    #[test]
    fn an_answer_is_read_whatever_comes() {
        let mut writer = Writer(vec![0x81]);
        writer.string("ack");
        writer.string("abc");
        assert_eq!(string_of_map(&writer.0, "ack"), Some("abc".to_owned()));
        for length in 0..writer.0.len() {
            assert_eq!(string_of_map(&writer.0[..length], "ack"), None);
        }
        assert_eq!(string_of_map(&[0xff; 9], "ack"), None);
    }
}
