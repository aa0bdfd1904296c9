//! Logs: one writer that every line passes, and the redactor in it.

mod file;

use std::{
    io::{self, Write},
    sync::Arc,
};

pub use file::LogFile;
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Shortest run of token characters that is taken for a secret: ids have 22, halves of keys 43.
const SECRET_LEN: usize = 32;

/// Starts logging to standard error.
///
/// # Errors
/// When the level cannot be read, or logging was started before.
pub fn start(level: &str, json: bool) -> Result<(), String> {
    let ansi = io::IsTerminal::is_terminal(&io::stderr());
    init(level, json, ansi, Redacting(None))
}

/// Starts logging to a file.
///
/// # Errors
/// As [`start`].
pub fn start_in_file(level: &str, json: bool, file: LogFile) -> Result<(), String> {
    init(level, json, false, Redacting(Some(Arc::new(file))))
}

fn init(level: &str, json: bool, ansi: bool, writer: Redacting) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|e| format!("log-level: {e}"))?;
    let filter = filter.and(filter_fn(|of| is_told(of.target(), *of.level())));
    let layer = tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(writer);
    let layer = if json {
        layer.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        layer.with_target(false).compact().with_filter(filter).boxed()
    };
    tracing_subscriber::registry().with(layer).try_init().map_err(|e| e.to_string())
}

/// The libraries below log what they carry when they are asked for details, messages and tokens, and what goes
/// well; that of NATS also what we say ourselves, each time it tries again.
fn is_told(target: &str, level: Level) -> bool {
    let is_ours = target.starts_with("belay") || target == "audit";
    is_ours || level <= Level::WARN && !target.starts_with("async_nats")
}

/// The one writer: a file, or standard error.
#[derive(Debug, Clone)]
struct Redacting(Option<Arc<LogFile>>);

/// Gathers one line, then writes it redacted.
struct Line {
    file: Option<Arc<LogFile>>,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Redacting {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { file: self.0.clone(), bytes: Vec::with_capacity(256) }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = redact(&String::from_utf8_lossy(&self.bytes));
        let _ = match &self.file {
            Some(file) => file.append(text.as_bytes()),
            None => io::stderr().lock().write_all(text.as_bytes()),
        };
    }
}

/// Replaces what looks like a token, a bearer, an e-mail address or credentials in a URL.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        out.push_str(&rest[..start]);
        let word_on = &rest[start..];
        let end = word_on.find(|c| !is_word(c)).unwrap_or(word_on.len());
        let (word, after) = word_on.split_at(end);
        out.push_str(redacted_word(word, &out));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Characters of tokens, addresses and the user part of URLs.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@' | '.' | '+' | '%' | '=')
}

fn redacted_word<'a>(word: &'a str, before: &str) -> &'a str {
    let longest = word
        .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
        .map(str::len)
        .max();
    let is_address = word.split_once('@').is_some_and(|(_, host)| host.contains('.'));
    let in_url = word.contains('@') && (before.ends_with("//") || before.ends_with(':'));
    let after_bearer = before.trim_end_matches(' ').to_ascii_lowercase().ends_with("bearer");
    if longest.is_some_and(|n| n >= SECRET_LEN) || is_address || in_url || after_bearer {
        "[redacted]"
    } else {
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_secrets_are_removed_and_ids_stay() {
        let token = "AQAAAAEB".repeat(16);
        let id = "MDEyMzQ1Njc4OWFiY2RlZg";
        let line = format!(
            "connection={id} token=\"{token}\" auth=Bearer hunter2 mail=ana@example.org \
             url=redis://user:pass@host:1/0"
        );

        let text = redact(&line);

        for secret in [token.as_str(), "hunter2", "ana@example.org", "pass@"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(text.contains(id), "{text}");
    }

    #[test]
    fn plain_text_passes_unchanged() {
        for text in ["", "connected is_host=true", "größer 📱", "2026-11-24T13:00:00.000Z INFO"]
        {
            assert_eq!(redact(text), text);
        }
    }
}
