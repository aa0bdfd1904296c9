//! How a frame struct becomes text with `k` first, and back.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, IgnoredAny, MapAccess, Visitor},
    forward_to_deserialize_any,
};

use crate::JSON_DEPTH_MAX;

/// Why a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The text does not start with an object whose first member is `k`.
    #[error("a frame is one JSON object with \"k\" as its first member")]
    NoKind,
    /// No frame of this version has that kind.
    #[error("unknown frame kind \"{0}\"")]
    UnknownKind(String),
    /// Brackets nest deeper than any frame needs.
    #[error("nested deeper than {JSON_DEPTH_MAX} levels")]
    TooDeep,
    /// A member is missing, unknown, doubled or of the wrong type.
    #[error("frame \"{kind}\": {cause}")]
    Member {
        /// The kind of the frame.
        kind: &'static str,
        /// What is wrong, and where.
        cause: String,
    },
    /// A binary frame is cut short or malformed.
    #[error("binary frame: {0}")]
    Binary(&'static str),
}

impl DecodeError {
    pub(super) fn unknown_kind(kind: &str) -> Self {
        Self::UnknownKind(kind.chars().take(32).collect())
    }

    /// The label of metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoKind => "no_kind",
            Self::UnknownKind(_) => "unknown_kind",
            Self::TooDeep => "too_deep",
            Self::Member { .. } => "member",
            Self::Binary(_) => "binary",
        }
    }
}

/// Reads the kind from the head of the text, without parsing the rest.
pub(super) fn kind(text: &str) -> Result<&str, DecodeError> {
    let skip = |s: &'_ str, c: char| -> Option<usize> {
        let trimmed = s.trim_start_matches([' ', '\t', '\n', '\r']);
        trimmed.starts_with(c).then(|| s.len() - trimmed.len() + c.len_utf8())
    };
    let mut rest = text;
    for expected in ['{', '"', 'k', '"', ':', '"'] {
        let inside_string = matches!(expected, 'k') || (expected == '"' && rest.starts_with('"'));
        let at = if inside_string {
            rest.starts_with(expected).then_some(1)
        } else {
            skip(rest, expected)
        };
        rest = &rest[at.ok_or(DecodeError::NoKind)?..];
    }
    let end = rest.find('"').ok_or(DecodeError::NoKind)?;
    Ok(&rest[..end])
}

/// Tells whether brackets outside strings nest deeper than `max`.
pub fn depth_exceeds(text: &str, max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

pub(super) fn encode<T: Serialize>(kind: &str, frame: &T) -> String {
    let members = serde_json::to_string(frame).expect("frames have string keys only");
    let mut text = String::with_capacity(members.len() + kind.len() + 8);
    text.push_str("{\"k\":\"");
    text.push_str(kind);
    text.push('"');
    if members.len() > 2 {
        text.push(',');
    }
    text.push_str(&members[1..]);
    text
}

pub(super) fn decode<T: DeserializeOwned>(
    kind: &'static str,
    text: &str,
) -> Result<T, DecodeError> {
    if depth_exceeds(text, JSON_DEPTH_MAX) {
        return Err(DecodeError::TooDeep);
    }
    let mut json = serde_json::Deserializer::from_str(text);
    T::deserialize(WithoutKind(&mut json))
        .and_then(|frame| json.end().map(|()| frame))
        .map_err(|e| DecodeError::Member { kind, cause: e.to_string() })
}

/// Hands a struct its members without the leading `k`, and without buffering, so that raw payloads
/// survive (serde's own internally tagged enums buffer).
struct WithoutKind<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for WithoutKind<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(AfterKind(visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

struct AfterKind<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for AfterKind<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a frame object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        match map.next_key::<KindKey>()? {
            Some(KindKey) => map.next_value::<IgnoredAny>()?,
            None => return Err(de::Error::missing_field("k")),
        };
        self.0.visit_map(map)
    }
}

struct KindKey;

impl<'de> Deserialize<'de> for KindKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        if key == "k" { Ok(Self) } else { Err(de::Error::custom("expected \"k\" first")) }
    }
}
