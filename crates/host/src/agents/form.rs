//! Forms that an agent asks a person to fill: a JSON schema of flat properties as questions, and the
//! answers as the values that the schema wants.

use belay_wire::app::Question;
use serde_json::{Map, Value};

use super::{list, text};

/// The properties of a form as questions.
pub(crate) fn questions(schema: &Value) -> Vec<Question> {
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let question = |(id, schema): (&String, &Value)| {
        let choices = choices(schema);
        Question {
            id: id.clone(),
            text: schema["title"].as_str().or(schema["description"].as_str()).unwrap_or(id).into(),
            free: choices.is_empty(),
            choices,
            secret: false,
        }
    };
    properties.iter().map(question).collect()
}

fn choices(schema: &Value) -> Vec<String> {
    if schema["type"] == "boolean" {
        return vec!["yes".to_owned(), "no".to_owned()];
    }
    let schema = if schema["type"] == "array" { &schema["items"] } else { schema };
    let words = |name: &str| list(schema, name).iter().filter_map(Value::as_str).map(str::to_owned);
    let named = |name: &str| list(schema, name).iter().map(|o| text(o, "const"));
    words("enum").chain(named("oneOf")).chain(named("anyOf")).filter(|c| !c.is_empty()).collect()
}

/// The answers as the schema wants them.
///
/// # Errors
/// What is missing or is not of its kind, in words.
pub(crate) fn content(schema: &Value, answers: &[(String, Vec<String>)]) -> Result<Value, String> {
    let given = |id: &str| answers.iter().find(|(name, _)| name == id).map(|(_, given)| given);
    let mut content = Map::new();
    for (id, property) in schema["properties"].as_object().into_iter().flatten() {
        let answers = given(id).filter(|g| g.iter().any(|a| !a.trim().is_empty()));
        let Some(answers) = answers else {
            if list(schema, "required").iter().any(|name| name == id) {
                let name = property["title"].as_str().unwrap_or(id);
                return Err(format!("answer \"{name}\" first"));
            }
            continue;
        };
        content.insert(id.clone(), value(id, property, answers)?);
    }
    Ok(Value::Object(content))
}

fn value(id: &str, property: &Value, answers: &[String]) -> Result<Value, String> {
    let first = answers.first().map(|a| a.trim()).unwrap_or_default();
    let number = |name: &str| format!("\"{id}\" wants {name}, not \"{first}\"");
    match property["type"].as_str() {
        Some("boolean") => Ok(matches!(first, "yes" | "true").into()),
        Some("integer") => {
            first.parse::<i64>().map(Value::from).map_err(|_| number("a whole number"))
        }
        Some("number") => first.parse::<f64>().map(Value::from).map_err(|_| number("a number")),
        Some("array") => Ok(answers.to_vec().into()),
        _ => Ok(answers.first().cloned().unwrap_or_default().into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({ "properties": {
            "colour": { "enum": ["Red", "Blue"] },
            "count": { "type": "integer" },
            "sure": { "type": "boolean", "title": "Are you sure?" },
            "note": { "type": "string" },
        }, "required": ["count"] })
    }

    fn answers(given: &[(&str, &str)]) -> Vec<(String, Vec<String>)> {
        given.iter().map(|(id, a)| ((*id).to_owned(), vec![(*a).to_owned()])).collect()
    }

    #[test]
    fn each_answer_has_the_type_that_the_schema_wants() {
        let given = answers(&[("colour", "Red"), ("count", "3"), ("sure", "yes"), ("note", " ")]);

        let content = content(&schema(), &given).expect("complete");

        assert_eq!(content, json!({ "colour": "Red", "count": 3, "sure": true }));
    }

    #[test]
    fn what_is_missing_or_not_of_its_kind_is_named() {
        let missing = content(&schema(), &answers(&[("colour", "Red")])).expect_err("no count");
        let wrong = content(&schema(), &answers(&[("count", "many")])).expect_err("no number");

        assert!(missing.contains("count") && wrong.contains("whole number"), "{missing}, {wrong}");
    }

    #[test]
    fn choices_come_from_every_form_of_list() {
        let questions = questions(&json!({ "properties": {
            "a": { "enum": ["x"] }, "b": { "oneOf": [{ "const": "y" }] }, "c": { "type": "boolean" },
            "d": { "type": "array", "items": { "enum": ["z"] } }, "e": { "type": "string" },
        }}));

        let choices: Vec<_> = questions.iter().map(|q| q.choices.join("|")).collect();
        assert_eq!(choices, ["x", "y", "yes|no", "z", ""]);
        assert!(questions[4].free && !questions[0].free);
    }
}
