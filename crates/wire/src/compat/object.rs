//! A JSON object whose members keep their order and their text.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

use crate::{JSON_DEPTH_MAX, RawJson, depth_exceeds};

/// A member has another JSON type than the one asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongType;

/// Members in the order in which they came, each with its JSON text.
#[derive(Debug, Clone, PartialEq)]
pub struct Object(Vec<(String, RawJson)>);

impl Object {
    /// Reads an object; `None` for anything else, also for one with a member twice, because two readers
    /// could take different ones.
    pub fn parse(text: &str) -> Option<Self> {
        if depth_exceeds(text, JSON_DEPTH_MAX) {
            return None;
        }
        serde_json::from_str(text).ok()
    }

    /// A member that is there and not `null`.
    pub fn get(&self, name: &str) -> Option<&RawJson> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value).filter(|value| value.text() != "null")
    }

    /// Tells whether a member is there, `null` or not.
    pub fn names(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// A member as text. `Err`: it is something else.
    pub fn text(&self, name: &str) -> Result<Option<String>, WrongType> {
        self.get(name).map(|v| serde_json::from_str(v.text()).map_err(|_| WrongType)).transpose()
    }

    /// A member as a whole number that is not negative. `Err`: it is something else.
    pub fn number(&self, name: &str) -> Result<Option<u64>, WrongType> {
        self.get(name).map(|v| serde_json::from_str(v.text()).map_err(|_| WrongType)).transpose()
    }

    /// A member as an object. `Err`: it is something else.
    pub fn object(&self, name: &str) -> Result<Option<Self>, WrongType> {
        self.get(name).map(|v| Self::parse(v.text()).ok_or(WrongType)).transpose()
    }

    /// The first member that is not one of `known`.
    pub fn unknown(&self, known: &[&str]) -> Option<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).find(|name| !known.contains(name))
    }

    /// Tells whether it has no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts another value in the place of a member, or appends it.
    pub fn set(&mut self, name: &str, value: RawJson) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, held)) => *held = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// The object as JSON text.
    pub fn to_json(&self) -> RawJson {
        let mut text = String::from("{");
        for (at, (name, value)) in self.0.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(&serde_json::Value::from(name.as_str()).to_string());
            text.push(':');
            text.push_str(value.text());
        }
        text.push('}');
        serde_json::from_str(&text).expect("made of JSON values")
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut members: Vec<(String, RawJson)> = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        let mut seen = HashSet::with_capacity(members.len());
        if let Some((name, _)) = members.iter().find(|(name, _)| !seen.insert(name.as_str())) {
            return Err(A::Error::custom(format!("duplicate member {name}")));
        }
        Ok(Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_their_text() {
        let mut object = Object::parse(r#"{"b": 1.50, "a":{"z" : [ ]}, "c":null}"#).expect("one");

        object.set("d", RawJson::of(&1).expect("JSON"));
        object.remove("b");

        assert_eq!(object.to_json().text(), r#"{"a":{"z" : [ ]},"c":null,"d":1}"#);
        assert!(object.get("c").is_none() && object.names("c"));
    }

    #[test]
    fn many_members_cost_as_much_as_their_text() {
        let members: Vec<_> = (0..300_000).map(|n| format!("\"m{n}\":1")).collect();

        // Compared one by one, these would take minutes.
        assert!(Object::parse(&format!("{{{}}}", members.join(","))).is_some());
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_no_object() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, "[]", "1", "", "{", "{}x"] {
            assert_eq!(Object::parse(text), None, "{text}");
        }
        assert_eq!(Object::parse(&"[".repeat(500)), None);
    }
}
