//! The language of filter patterns: terms, JSON conditions, and conditions on space-delimited fields. Pure.
//!
//! Terms match anywhere in a message and by case; the real service's idea of a word is not documented, and its own
//! examples agree with substrings.

mod fields;
mod json;
mod terms;
mod value;

pub(super) use value::matches_wildcard;

use fields::Fields;
use json::Json;
use terms::Terms;

/// A parsed pattern.
#[derive(Debug)]
pub(super) enum Pattern {
    /// The empty pattern.
    Everything,
    Terms(Terms),
    Json(Json),
    Fields(Fields),
}

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    /// A term with other characters than letters, digits and underscores has to be in quotes.
    #[error("Invalid character(s) in term '{0}'")]
    Term(String),
    /// Anything else.
    #[error("Invalid filter pattern")]
    Syntax,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        if text.is_empty() || text == "\"\"" || text == "\" \"" {
            return Ok(Pattern::Everything);
        }
        if let Some(rest) = text.strip_prefix('{') {
            return Json::parse(rest.strip_suffix('}').ok_or(PatternError::Syntax)?).map(Pattern::Json);
        }
        if let Some(rest) = text.strip_prefix('[') {
            return Fields::parse(rest.strip_suffix(']').ok_or(PatternError::Syntax)?).map(Pattern::Fields);
        }
        Terms::parse(text).map(Pattern::Terms)
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        match self {
            Pattern::Everything => true,
            Pattern::Terms(terms) => terms.matches(message),
            Pattern::Json(json) => json.matches(message),
            Pattern::Fields(fields) => fields.matches(message),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let parsed = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        yes.iter().for_each(|message| assert!(parsed.matches(message), "{pattern} should match {message}"));
        no.iter().for_each(|message| assert!(!parsed.matches(message), "{pattern} should not match {message}"));
    }

    #[test]
    fn terms() {
        check("", &["", "anything"], &[]);
        check("\" \"", &["anything"], &[]);
        check("ERROR", &["[ERROR] 1", "ERRORS"], &["error", ""]);
        check("ERROR timeout", &["timeout after ERROR"], &["ERROR", "timeout"]);
        check("?ERROR ?WARN", &["ERROR x", "WARN x"], &["INFO"]);
        check("ERROR ?WARN", &["ERROR x"], &["WARN x"]);
        check("\"two words\"", &["has two words in it"], &["words two"]);
        check("\"say \\\"hi\\\"\"", &["say \"hi\""], &["say hi"]);
        check("ERROR -DEBUG", &["ERROR"], &["ERROR DEBUG", "DEBUG"]);
        check("-DEBUG", &["INFO"], &["DEBUG"]);
        check("-\"health check\" GET", &["GET /"], &["GET health check"]);
        check("?\"a b\" ?c", &["a b", "c"], &["a", "b"]);
        check("%ab+c%", &["xabbbcx"], &["ac"]);
        check("%^GET [a-z/]+$% ", &["GET /a/b"], &["GET /a/b 200"]);
        check("größe", &["die größe"], &[]);
    }

    #[test]
    fn json() {
        let put = r#"{"method":"PUT","status":404,"user":{"id":7,"name":"bob smith","tags":["a","b"]},"ok":false,"none":null,"f":1.5e3,"a.b":"dot"}"#;
        check(r#"{ $.method = "PUT" }"#, &[put], &["PUT", "{}", r#"{"method":"GET"}"#]);
        check(r#"{$.method=PUT}"#, &[put], &["{}"]);
        check(r#"{ $.method = "P*" }"#, &[put], &[r#"{"method":"xP"}"#]);
        check(r#"{ $.user.name = "*smith" && $.user.id >= 7 }"#, &[put], &[]);
        check(r#"{ $.user.tags[1] = "b" }"#, &[put], &[r#"{"user":{"tags":["b"]}}"#]);
        check(r#"{ $.status = 404 || $.status = 500 }"#, &[put], &[r#"{"status":200}"#]);
        check(r#"{ $.status != 404 }"#, &[r#"{"status":200}"#], &[put, "{}"]);
        check(r#"{ $.status > 400 && $.status < 500 }"#, &[put], &[r#"{"status":400}"#, r#"{"status":"x"}"#]);
        check(r#"{ $.f = 1500 }"#, &[put], &[]);
        check(r#"{ $.f <= 1.5e3 }"#, &[put], &[]);
        check(r#"{ $.ok IS FALSE }"#, &[put], &[r#"{"ok":true}"#]);
        check(r#"{ $.ok IS TRUE }"#, &[r#"{"ok":true}"#], &[put]);
        check(r#"{ $.none IS NULL }"#, &[put], &["{}", r#"{"none":1}"#]);
        check(r#"{ $.missing NOT EXISTS }"#, &[put], &[r#"{"missing":1}"#]);
        check(r#"{ $.["a.b"] = "dot" }"#, &[put], &[]);
        check(r#"{ $['a.b'] = "dot" }"#, &[put], &[]);
        check(r#"{ $.user = "*" }"#, &[], &[put]);
        check(r#"{ ($.a = 1 || $.b = 1) && $.c = 1 }"#, &[r#"{"b":1,"c":1}"#], &[r#"{"a":1}"#]);
        check(r#"{ $.a = 1 || $.b = 1 && $.c = 1 }"#, &[r#"{"a":1}"#], &[r#"{"b":1}"#]);
        check(r#"{ $.method = %P.T% }"#, &[put], &[r#"{"method":"GET"}"#]);
        check(r#"{ $.ip = 10.0.* }"#, &[r#"{"ip":"10.0.3.4"}"#], &[r#"{"ip":"10.1.3.4"}"#]);
        check(r#"{ $.s = "q\"t" }"#, &[r#"{"s":"q\"t"}"#], &[]);
        check(r#"{ $.list[0].id = 3 }"#, &[r#"{"list":[{"id":3}]}"#], &[r#"{"list":[]}"#]);
    }

    #[test]
    fn fields() {
        let line = r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /apache.gif HTTP/1.0" 404 1534"#;
        check("[ip, id, user, time, request, status, bytes]", &[line], &["a b c"]);
        check("[ip, id, user, time, request, status=404, bytes>1000]", &[line], &[]);
        check("[ip, id, user, time, request, status=4*, bytes]", &[line], &[]);
        check("[..., status=404, bytes]", &[line], &["a 200 1"]);
        check("[ip, ..., request=*apache*, status != 200, bytes]", &[line], &[]);
        check("[ip, id, user, time, request=\"GET /apache*\", ...]", &[line], &[]);
        check("[..., status>=400 && status<500, bytes]", &[line], &["x 399 1", "x 500 1", "x y 1"]);
        check("[level=ERROR || level=WARN, ...]", &["ERROR x", "WARN"], &["INFO x"]);
        check("[w1=%^E%, w2]", &["ERR 1"], &["XE 1"]);
        check("[w1]", &["one", "\"one field\""], &["two fields", ""]);
        check("[a, ..., z=3, ...]", &["1 3", "1 2 3 4"], &["3", "1 2"]);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(Pattern::parse("foo-bar").unwrap_err(), PatternError::Term("foo-bar".into()));
        for text in [
            "{ $.a }",
            "{ $.a = }",
            "{ a = 1 }",
            "{ $.a = 1",
            "{ $.a = 1 && }",
            "{ ($.a = 1 }",
            "{ $.a[x] = 1 }",
            "{}",
            "{ $.a == 1 }",
            "{ $.a IS MAYBE }",
            "{ $.a = \"x }",
            "[a, b",
            "[a=, b]",
            "[]",
            "[a,,b]",
            "\"open",
            "%open",
            "%(a)%",
            "%a% %b% %c%",
            "{ $.a < \"x\" }",
            "[a==3]",
        ] {
            assert_eq!(Pattern::parse(text).err(), Some(PatternError::Syntax), "{text}");
        }
        // Nesting is bounded by the pattern's length; this must not overflow the stack.
        let deep = format!("{{ {} $.a = 1 {} }}", "(".repeat(400), ")".repeat(400));
        Pattern::parse(&deep).unwrap();
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_panic(pattern in "\\PC{0,40}", message in "\\PC{0,40}") {
            for pattern in [pattern.clone(), format!("{{{pattern}}}"), format!("[{pattern}]"), format!("{{$.{pattern}}}")] {
                if let Ok(parsed) = Pattern::parse(&pattern) {
                    parsed.matches(&message);
                }
            }
        }
    }
}
