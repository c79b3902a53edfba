//! What a container prints, as JSON lines in rotated files: the format and the line limit of Docker's json-file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::LogFile;

/// Docker cuts longer lines: each piece but the last has no newline in its `log`.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1024;

/// How much is encoded before it is written, to write a burst of lines with few system calls.
const BUFFER_BYTES: usize = 16 * 1024;

/// One of a container's output streams, cut into lines.
pub(super) struct Stream {
    name: &'static str,
    partial: Vec<u8>,
}

impl Stream {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, partial: Vec::new() }
    }

    /// Takes bytes as they came and gives each complete line (or full piece of a long one) to `line`.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&'static str, &[u8])) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.partial.len();
            let newline = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let take = match newline {
                Some(at) => at + 1,
                None if bytes.len() >= room => room,
                None => {
                    self.partial.extend_from_slice(bytes);
                    return;
                }
            };
            let (head, rest) = bytes.split_at(take);
            if self.partial.is_empty() {
                line(self.name, head);
            } else {
                self.partial.extend_from_slice(head);
                line(self.name, &self.partial);
                self.partial = Vec::new();
            }
            bytes = rest;
        }
    }

    /// Gives what came after the last newline.
    pub(super) fn finish(&mut self, mut line: impl FnMut(&'static str, &[u8])) {
        if !self.partial.is_empty() {
            line(self.name, &self.partial);
            self.partial = Vec::new();
        }
    }
}

/// The files. A full disk loses output and says so in the log once there is room; it never blocks the container.
pub(super) struct LogWriter {
    log: LogFile,
    file: File,
    size: u64,
    buffer: Vec<u8>,
    lost_bytes: u64,
}

impl LogWriter {
    /// Continues the file when it exists.
    pub(super) fn open(log: LogFile) -> io::Result<Self> {
        let file = open(&log.path)?;
        let size = file.metadata()?.len();
        Ok(Self { log, file, size, buffer: Vec::new(), lost_bytes: 0 })
    }

    /// Adds one line; it is on its way to the file after [`Self::flush`].
    pub(super) fn line(&mut self, stream: &str, line: &[u8], now: SystemTime) {
        encode(&mut self.buffer, stream, line, now);
        let full = self.log.max_bytes.is_some_and(|max| self.size + self.buffer.len() as u64 >= max);
        if full || self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
        if full {
            self.rotate();
        }
    }

    /// Writes what was added.
    pub(super) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        if self.lost_bytes > 0 {
            let note = format!("gantry: {} bytes of output could not be written here\n", self.lost_bytes);
            let mut line = Vec::new();
            encode(&mut line, "stderr", note.as_bytes(), SystemTime::now());
            if self.file.write_all(&line).is_ok() {
                self.size += line.len() as u64;
                self.lost_bytes = 0;
            }
        }
        match self.file.write_all(&self.buffer) {
            Ok(()) => self.size += self.buffer.len() as u64,
            Err(_) => {
                // Half a line would spoil every later one for readers.
                let _ = self.file.set_len(self.size);
                self.lost_bytes += self.buffer.len() as u64;
            }
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
    }

    fn rotate(&mut self) {
        for number in (1..self.log.max_files.max(1)).rev() {
            let from = if number == 1 { self.log.path.clone() } else { numbered(&self.log, number - 1) };
            let _ = fs::rename(from, numbered(&self.log, number));
        }
        if self.log.max_files <= 1 {
            let _ = fs::remove_file(&self.log.path);
        }
        if let Ok(file) = open(&self.log.path) {
            self.size = file.metadata().map_or(0, |metadata| metadata.len());
            self.file = file;
        }
    }
}

fn open(path: &std::path::Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn numbered(log: &LogFile, number: u32) -> PathBuf {
    let mut name = log.path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn encode(out: &mut Vec<u8>, stream: &str, line: &[u8], now: SystemTime) {
    out.extend_from_slice(b"{\"log\":\"");
    for chunk in line.utf8_chunks() {
        escape(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    rfc3339(out, now);
    out.extend_from_slice(b"\"}\n");
}

fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let replacement: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 | 0x7f => &[],
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain_from..at]);
        if replacement.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.extend_from_slice(replacement);
        }
        plain_from = at + 1;
    }
    out.extend_from_slice(&bytes[plain_from..]);
}

/// `2024-02-29T12:30:45.123456789Z`.
fn rfc3339(out: &mut Vec<u8>, now: SystemTime) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z");
}

/// Days since 1970 to year, month, day (Howard Hinnant's algorithm, for days after the epoch).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut stream = Stream::new("stdout");
        let mut found = Vec::new();
        for piece in pieces {
            stream.push(piece, |_, line| found.push(String::from_utf8_lossy(line).into_owned()));
        }
        stream.finish(|_, line| found.push(String::from_utf8_lossy(line).into_owned()));
        found
    }

    #[test]
    fn lines_are_put_together_from_whatever_pieces_arrive() {
        assert_eq!(lines(&[b"a\nb", b"c\n\n", b"d"]), ["a\n", "bc\n", "\n", "d"]);
        assert!(lines(&[b""]).is_empty());
    }

    #[test]
    fn a_long_line_is_cut_at_16_kib() {
        let long = vec![b'x'; LINE_BYTES_MAX * 2 + 5];
        let sizes: Vec<usize> = lines(&[&long[..100], &long[100..], b"\n"]).iter().map(String::len).collect();
        assert_eq!(sizes, [LINE_BYTES_MAX, LINE_BYTES_MAX, 6]);
    }

    fn encoded(line: &[u8]) -> String {
        let mut out = Vec::new();
        encode(&mut out, "stdout", line, UNIX_EPOCH + Duration::new(1_709_209_845, 123_456_789));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_dockers_json() {
        assert_eq!(
            encoded(b"hello \"you\"\n"),
            "{\"log\":\"hello \\\"you\\\"\\n\",\"stream\":\"stdout\",\"time\":\"2024-02-29T12:30:45.123456789Z\"}\n"
        );
    }

    #[test]
    fn every_byte_makes_valid_json_and_text_comes_back_unchanged() {
        let all: Vec<u8> = (0..=255).collect();
        let value: serde_json::Value = serde_json::from_str(&encoded(&all)).unwrap();
        assert!(value["log"].as_str().unwrap().contains('\u{fffd}'));
        let text = "tab\t nul\0 del\u{7f} ü 漢 \u{1F600} \\ \"";
        let value: serde_json::Value = serde_json::from_str(&encoded(text.as_bytes())).unwrap();
        assert_eq!(value["log"], text);
    }

    #[test]
    fn files_rotate_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut writer = LogWriter::open(LogFile { path: path.clone(), max_bytes: Some(200), max_files: 3 }).unwrap();
        for number in 0..20 {
            writer.line("stdout", format!("line {number}\n").as_bytes(), SystemTime::now());
        }
        writer.flush();
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["log", "log.1", "log.2"]);
        let newest = fs::read_to_string(directory.path().join("log.1")).unwrap();
        assert!(newest.contains("line 17"), "{newest}");
        assert!(newest.ends_with('\n'));
        let older = fs::read_to_string(directory.path().join("log.2")).unwrap();
        assert!(older.contains("line 14"), "{older}");
    }
}
