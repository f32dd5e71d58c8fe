//! What the examiner and the host say to each other, and how the host reads it.
//!
//! A message is a byte for its kind, its length as four bytes, little end first, and so many bytes.
//! The examiner handles bytes that nobody trusts; whoever gets hold of it can make it say anything.
//! What it says is therefore read with a limit on bytes, on items and on depth, and a length is
//! believed only as far as bytes follow.

use std::io;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, SeqAccess, Visitor},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use xcomponent_core::{
    definition::{Finding, Findings, MethodKind, Severity},
    id::MethodName,
    limits::FINDINGS_MAX,
};

use super::vocabulary::word;
use crate::sandbox::log::cut;

/// Bytes of a report, or of the reason for a refusal.
pub(super) const REPORT_BYTES_MAX: usize = 4 << 20;

/// Bytes of each text of a finding, or of a refusal.
pub(super) const TEXT_BYTES_MAX: usize = 2 << 10;

/// Methods or imports of one component.
const NAMES_MAX: usize = 10_000;

/// Bytes before each message.
const HEADER_BYTES: usize = 5;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Why it is not accepted: a [`Refusal`].
    Refused = b'!',
    /// What was found: a [`Report`].
    Report = b'r',
    /// The definition that was packed, byte for byte.
    Definition = b'd',
    /// The definition that was sent, packed with the blank guest.
    Packed = b'p',
    /// Machine code.
    Code = b'c',
}

/// Why something is not accepted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) message: String,
}

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    /// Whether the definition has no errors.
    pub(super) accepted: bool,
    /// The first of what there is to say about the definition.
    #[serde(deserialize_with = "at_most::<_, _, FINDINGS_MAX>")]
    pub(super) findings: Vec<Found>,
    /// How many errors there are besides.
    pub(super) unlisted_errors: u32,
    /// How many warnings there are besides.
    pub(super) unlisted_warnings: u32,
    /// What the code says it answers.
    #[serde(deserialize_with = "at_most::<_, _, NAMES_MAX>")]
    pub(super) methods: Vec<Method>,
}

/// A guard or an action.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Method {
    is_guard: bool,
    name: String,
}

/// A finding.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Found {
    is_error: bool,
    code: String,
    line: u32,
    column: u32,
    length: u32,
    path: String,
    message: String,
    help: Option<String>,
}

impl Report {
    /// What is to be said of findings and methods.
    pub(super) fn new(
        accepted: bool,
        findings: &Findings,
        methods: &[(MethodKind, MethodName)],
    ) -> Self {
        let method = |(kind, name): &(MethodKind, MethodName)| Method {
            is_guard: *kind == MethodKind::Guard,
            name: name.to_string(),
        };
        let unlisted = |severity| {
            let listed = findings.iter().filter(|one| one.severity == severity);
            u32::try_from(findings.count(severity) - listed.count()).unwrap_or(u32::MAX)
        };
        Self {
            accepted,
            findings: findings.iter().map(Found::of).collect(),
            unlisted_errors: unlisted(Severity::Error),
            unlisted_warnings: unlisted(Severity::Warning),
            methods: methods.iter().map(method).collect(),
        }
    }

    /// The findings, as the core has them.
    pub(super) fn findings(&self) -> Findings {
        let listed = self.findings.iter().map(Found::to_finding).collect();
        let unlisted = [self.unlisted_errors, self.unlisted_warnings].map(|n| n as usize);
        Findings::new(listed, unlisted[0], unlisted[1])
    }

    /// The methods, sorted.
    pub(super) fn methods(&self) -> Vec<(MethodKind, MethodName)> {
        let method = |method: &Method| match method.is_guard {
            true => (MethodKind::Guard, MethodName::new(&*method.name)),
            false => (MethodKind::Action, MethodName::new(&*method.name)),
        };
        let mut methods: Vec<_> = self.methods.iter().map(method).collect();
        methods.sort();
        methods
    }
}

impl Found {
    fn of(finding: &Finding) -> Self {
        let cut = |text: &str| cut(text, TEXT_BYTES_MAX).into_owned();
        Self {
            is_error: finding.severity == Severity::Error,
            code: finding.code.to_owned(),
            line: finding.line,
            column: finding.column,
            length: finding.length,
            path: cut(&finding.path),
            message: cut(&finding.message),
            help: finding.help.as_deref().map(cut),
        }
    }

    fn to_finding(&self) -> Finding {
        Finding {
            severity: match self.is_error {
                true => Severity::Error,
                false => Severity::Warning,
            },
            code: word(&self.code),
            line: self.line,
            column: self.column,
            length: self.length,
            path: self.path.clone(),
            message: self.message.clone(),
            help: self.help.clone(),
        }
    }
}

/// A message as it is written.
pub(super) fn header(kind: Kind, bytes: &[u8]) -> io::Result<[u8; HEADER_BYTES]> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let [a, b, c, d] = length.to_le_bytes();
    Ok([kind as u8, a, b, c, d])
}

/// What came instead of a message.
#[derive(Debug)]
pub(super) enum Missing {
    /// The examiner ended, or closed its output.
    Ended,
    /// It said more than it may.
    TooLong {
        /// Which kind of message.
        kind: Kind,
        /// How many bytes it may have.
        bytes_max: usize,
    },
    /// It said something that makes no sense here.
    Nonsense(String),
}

/// Reads a message of one of these kinds, each with the bytes it may have.
pub(super) async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    expected: &[(Kind, usize)],
) -> Result<(Kind, Vec<u8>), Missing> {
    let mut header = [0; HEADER_BYTES];
    let read = stream.read_exact(&mut header).await;
    read.map_err(|_| Missing::Ended)?;
    let [kind, a, b, c, d] = header;
    let found = expected.iter().find(|(known, _)| *known as u8 == kind);
    let &(kind, bytes_max) =
        found.ok_or_else(|| Missing::Nonsense(format!("a message of kind {kind}")))?;
    let length = u32::from_le_bytes([a, b, c, d]);
    if length as usize > bytes_max {
        return Err(Missing::TooLong { kind, bytes_max });
    }
    let mut bytes = Vec::new();
    let read = stream.take(length.into()).read_to_end(&mut bytes).await;
    match read {
        Ok(read) if read == length as usize => Ok((kind, bytes)),
        Ok(_) | Err(_) => Err(Missing::Ended),
    }
}

/// Reads what a message says.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Missing> {
    serde_json::from_slice(bytes).map_err(|error| Missing::Nonsense(error.to_string()))
}

/// A list of at most `MAX` items. The first one beyond is not even read.
fn at_most<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Items<T, const MAX: usize>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "at most {MAX} items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while list.len() < MAX {
                match items.next_element()? {
                    Some(item) => list.push(item),
                    None => return Ok(list),
                }
            }
            match items.next_element::<de::IgnoredAny>()? {
                None => Ok(list),
                Some(_) => Err(de::Error::invalid_length(MAX + 1, &self)),
            }
        }
    }

    deserializer.deserialize_seq(Items::<T, MAX>(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: usize) -> String {
        let finding = r#"{"is_error":true,"code":"unknown_key","line":1,"column":1,"length":1,"path":"","message":"","help":null}"#;
        let findings = vec![finding; findings].join(",");
        format!(
            r#"{{"accepted":false,"findings":[{findings}],"unlisted_errors":3,"unlisted_warnings":0,"methods":[]}}"#
        )
    }

    #[test]
    fn a_report_with_more_findings_than_are_allowed_is_not_read() {
        let full: Report = read(report(FINDINGS_MAX).as_bytes()).unwrap();
        assert_eq!(full.findings().len(), FINDINGS_MAX);
        let over = read::<Report>(report(FINDINGS_MAX + 1).as_bytes());
        assert!(matches!(over, Err(Missing::Nonsense(_))), "{over:?}");
    }

    #[tokio::test]
    async fn a_length_is_believed_only_as_far_as_bytes_follow() {
        let mut said = &b"r\xff\xff\xff\x00only this"[..];
        let heard = receive(&mut said, &[(Kind::Report, 1 << 30)]).await;
        assert!(matches!(heard, Err(Missing::Ended)), "{heard:?}");
        let mut said = &b"r\xff\xff\xff\x00"[..];
        let heard = receive(&mut said, &[(Kind::Report, 10)]).await;
        assert!(matches!(heard, Err(Missing::TooLong { .. })), "{heard:?}");
        let mut said = &b"x\x01\x00\x00\x00y"[..];
        let heard = receive(&mut said, &[(Kind::Report, 10)]).await;
        assert!(matches!(heard, Err(Missing::Nonsense(_))), "{heard:?}");
    }
}
