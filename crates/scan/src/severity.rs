//! How bad a finding is: the vendor's word, or the score of a CVSS vector.

use serde::{Deserialize, Serialize};

/// The severities of ECR, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// CVSS 9.0 and more.
    Critical,
    /// CVSS 7.0 and more.
    High,
    /// CVSS 4.0 and more.
    Medium,
    /// CVSS 0.1 and more.
    Low,
    /// No impact by itself.
    Informational,
    /// Nobody has said.
    Undefined,
}

impl Severity {
    /// All, worst first.
    pub const ALL: [Self; 6] =
        [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Informational, Self::Undefined];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
            Self::Informational => "INFORMATIONAL",
            Self::Undefined => "UNDEFINED",
        }
    }

    /// The severity of a CVSS base score (CVSS v3.1 section 5; v4 has the same bands).
    pub fn of_score(score: f64) -> Self {
        match score {
            score if score >= 9.0 => Self::Critical,
            score if score >= 7.0 => Self::High,
            score if score >= 4.0 => Self::Medium,
            score if score > 0.0 => Self::Low,
            _ => Self::Informational,
        }
    }

    /// A vendor's word: of GitHub, Red Hat, Debian, Ubuntu, SUSE. None for words that say nothing.
    pub fn of_word(word: &str) -> Option<Self> {
        Some(match word.trim().to_ascii_lowercase().as_str() {
            "critical" => Self::Critical,
            "high" | "important" => Self::High,
            "medium" | "moderate" => Self::Medium,
            "low" => Self::Low,
            "negligible" | "unimportant" | "none" | "informational" => Self::Informational,
            _ => return None,
        })
    }
}

/// A CVSS vector and its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cvss {
    /// `2.0`, `3.0`, `3.1` or `4.0`.
    pub version: String,
    /// As it was published.
    pub vector: String,
    /// 0.0 to 10.0.
    pub score: f64,
}

/// Longest vector read; a full v4 vector has under 200 characters.
const VECTOR_BYTES_MAX: usize = 512;

impl Cvss {
    /// Reads a vector and computes its score; none when it is no vector.
    pub fn parse(vector: &str) -> Option<Self> {
        let vector = vector.trim().trim_matches(['(', ')']);
        if vector.len() > VECTOR_BYTES_MAX {
            return None;
        }
        let parsed: cvss::Cvss = vector.parse().ok()?;
        let version = match &parsed {
            cvss::Cvss::CvssV20(_) => "2.0",
            cvss::Cvss::CvssV30(_) => "3.0",
            cvss::Cvss::CvssV31(_) => "3.1",
            cvss::Cvss::CvssV40(_) => "4.0",
            _ => return None,
        };
        // The parser rates a vector that lacks metrics as if they were harmless.
        let mandatory: &[&str] = match version {
            "2.0" => &["AV", "AC", "Au", "C", "I", "A"],
            "4.0" => &["AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA"],
            _ => &["AV", "AC", "PR", "UI", "S", "C", "I", "A"],
        };
        let has = |name: &&str| vector.split('/').any(|metric| metric.split(':').next() == Some(*name));
        if !mandatory.iter().all(has) {
            return None;
        }
        // Scores have one decimal.
        let score = (parsed.score().clamp(0.0, 10.0) * 10.0).round() / 10.0;
        Some(Self { version: version.to_owned(), vector: vector.to_owned(), score })
    }
}

/// The vector that counts when there are several: the newest version of the standard.
pub fn best(vectors: &[Cvss]) -> Option<&Cvss> {
    vectors.iter().max_by(|left, right| left.version.cmp(&right.version).then(left.score.total_cmp(&right.score)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn scores_of_published_vectors() {
        for (vector, version, score, severity) in [
            // CVSS v2 guide, CVE-2002-0392; v3.1 examples: CVE-2013-1937, CVE-2014-0160, CVE-2021-44228.
            ("AV:N/AC:L/Au:N/C:N/I:N/A:C", "2.0", 7.8, Severity::High),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", "3.0", 6.1, Severity::Medium),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", "3.1", 7.5, Severity::High),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", "3.1", 10.0, Severity::Critical),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "4.0", 9.3, Severity::Critical),
            ("CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "4.0", 7.3, Severity::High),
        ] {
            let cvss = Cvss::parse(vector).unwrap();
            assert_eq!((cvss.version.as_str(), cvss.score), (version, score), "{vector}");
            assert_eq!(Severity::of_score(cvss.score), severity, "{vector}");
        }
    }

    #[test]
    fn what_is_no_vector_has_no_score() {
        for text in ["", "high", "CVSS:3.1/", "CVSS:9.9/AV:N", "AV:N", "CVSS:3.1/AV:N/AC:L", &"A:/".repeat(400)] {
            assert!(Cvss::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_newest_standard_counts() {
        let v3 = Cvss::parse("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H").unwrap();
        let v4 = Cvss::parse("CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N").unwrap();
        assert_eq!(best(&[v4.clone(), v3]), Some(&v4));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn words_of_vendors() {
        assert_eq!(Severity::of_word("MODERATE"), Some(Severity::Medium));
        assert_eq!(Severity::of_word("not yet assigned"), None);
        assert_eq!(Severity::of_word("unimportant"), Some(Severity::Informational));
    }
}
