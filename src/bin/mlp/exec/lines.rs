//! Lines of standard input, bounded: a line past [`LINE_BYTES_MAX`] is reported and skipped, never held in memory.
//!
//! The last line may lack its line feed. Nothing here knows JSON: a line is bytes.

use std::io::{self, BufRead};

/// Longest line, without its line feed: 32 MiB.
pub const LINE_BYTES_MAX: usize = 32 << 20;

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes, without the line feed.
    Whole(Vec<u8>),
    /// It was longer than the bound; what it held is gone.
    TooLong,
}

/// Reads lines of at most `max` bytes.
pub struct Lines<R> {
    input: R,
    max: usize,
}

impl<R: BufRead> Lines<R> {
    /// Lines of `input` of at most `max` bytes each.
    pub fn new(input: R, max: usize) -> Self {
        Lines { input, max }
    }

    /// The next line, or `None` at the end of input.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        let mut too_long = false;
        let mut begun = false;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                return Ok(begun.then(|| ended(line, too_long)));
            }
            begun = true;
            let (part, feed) = match available.iter().position(|byte| *byte == b'\n') {
                Some(at) => (available.get(..at).unwrap_or(available), true),
                None => (available, false),
            };
            if too_long || line.len() + part.len() > self.max {
                too_long = true;
                // Given back at once, not at the line's end: the rest may be as long as the sender likes.
                line = Vec::new();
            } else {
                line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(feed);
            self.input.consume(used);
            if feed {
                return Ok(Some(ended(line, too_long)));
            }
        }
    }
}

fn ended(line: Vec<u8>, too_long: bool) -> Line {
    if too_long { Line::TooLong } else { Line::Whole(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &str, max: usize) -> Vec<Line> {
        // A tiny buffer, so that lines cross its border.
        let mut lines = Lines::new(io::BufReader::with_capacity(3, input.as_bytes()), max);
        std::iter::from_fn(|| lines.next_line().unwrap()).collect()
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_come_whole_also_the_last_one_without_a_line_feed() {
        assert_eq!(all("ab\n\ncdefgh\nxyz", 8), [whole("ab"), whole(""), whole("cdefgh"), whole("xyz")]);
        assert_eq!(all("", 8), []);
    }

    #[test]
    fn a_line_past_the_bound_is_one_report_and_the_next_one_is_read_whole() {
        assert_eq!(all("12345678\n123456789\nab\n", 8), [whole("12345678"), Line::TooLong, whole("ab")]);
        assert_eq!(all("1234567890123", 8), [Line::TooLong]);
    }
}
