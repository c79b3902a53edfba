//! `awslogs-datetime-format`: a strftime format as the pattern of a line that begins an event. Pure.

/// The regular expression that matches what `format` produces, as the awslogs driver has it.
pub(crate) fn from_datetime_format(format: &str) -> String {
    let mut pattern = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            pattern.push_str(&regex::escape(character.encode_utf8(&mut [0; 4])));
            continue;
        }
        let directive = characters.next();
        match directive.and_then(meaning) {
            Some(meaning) => pattern.push_str(meaning),
            None => pattern
                .extend(directive.map(|unknown| regex::escape(&format!("%{unknown}"))).iter().map(|text| &**text)),
        }
    }
    pattern
}

fn meaning(directive: char) -> Option<&'static str> {
    Some(match directive {
        'a' => "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)",
        'A' => "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)",
        'w' => "[0-6]",
        'd' => r"(?:0[1-9]|[12]\d|3[01])",
        'b' => "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)",
        'B' => "(?:January|February|March|April|May|June|July|August|September|October|November|December)",
        'm' => r"(?:0[1-9]|1[0-2])",
        'Y' => r"\d{4}",
        'y' => r"\d{2}",
        'H' => r"(?:[01]\d|2[0-3])",
        'I' => r"(?:0\d|1[0-2])",
        'M' => r"[0-5]\d",
        'S' => r"[0-5]\d",
        'L' => r"\.\d{3}",
        'f' => r"\d{6}",
        'z' => r"[+-]\d{4}",
        'Z' => "[A-Z]{1,4}T",
        'p' => "[AP]M",
        'j' => r"(?:0[0-9][1-9]|[1-3]\d\d)",
        '%' => "%",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn formats_match_what_they_print() {
        for (format, line, expected) in [
            ("%Y-%m-%d %H:%M:%S", "2026-01-31 23:59:59 started", true),
            ("%Y-%m-%d %H:%M:%S", "    at frame 3", false),
            ("[%b %d, %Y %H:%M:%S]", "[May 01, 2017 19:00:01] A message", true),
            ("[%b %d, %Y %H:%M:%S]", "May 01, 2017 19:00:01 A message", false),
            ("100%% %q", "100% %q", true),
        ] {
            let pattern = regex::Regex::new(&from_datetime_format(format)).unwrap();
            assert_eq!(pattern.is_match(line), expected, "{format}: {line}");
        }
    }
}
