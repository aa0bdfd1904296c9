//! The TypeScript types are generated from the Rust ones; this fails when they part.
//!
//! `BELAY_BLESS=1 cargo test -p belay-wire --test typescript` writes them anew.

use std::fmt::Write as _;

use belay_wire::{app, frame_fingerprint, nested, typescript};
use ts_rs::Config;

fn generate() -> String {
    let config = Config::default().with_large_int("number");
    let mut out = String::from(
        "// Generated from crates/wire by `make types`. Do not edit.\n\n/* eslint-disable */\n\n",
    );
    for declaration in nested(&config) {
        let _ = writeln!(out, "export {declaration}");
    }
    for (kind, declaration) in typescript(&config) {
        // A frame without members of its own.
        let empty = declaration.starts_with("Record<");
        let inner = if empty { "}" } else { declaration.trim_start_matches('{').trim() };
        let _ = writeln!(out, "export type {} = {{ k: \"{kind}\", {inner};", name_of(kind));
    }
    let kinds = typescript(&config).into_iter().map(|(kind, _)| name_of(kind));
    let _ = writeln!(out, "export type Frame = {};", kinds.collect::<Vec<_>>().join(" | "));
    for declaration in app::typescript(&config) {
        let _ = writeln!(out, "export {declaration}");
    }
    let codes = belay_wire::CloseCode::ALL
        .iter()
        .map(|c| format!("  {}: {{ label: {:?}, text: {:?} }},\n", c.code(), c.label(), c.text()));
    let _ = writeln!(
        out,
        "export const CLOSE_CODES: Record<number, {{ label: string; text: string }}> = {{\n{}}};",
        codes.collect::<String>()
    );
    let _ = writeln!(out, "export const FINGERPRINT = \"{}\";", frame_fingerprint());
    out
}

fn name_of(kind: &str) -> String {
    let parts = kind.split('.').map(|part| {
        let (first, rest) = part.split_at(1);
        format!("{}{rest}", first.to_uppercase())
    });
    format!("{}Frame", parts.collect::<String>())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads whether it is to write")]
fn the_typescript_types_are_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/sdk/wire.ts");
    let generated = generate();
    if std::env::var_os("BELAY_BLESS").is_some() {
        std::fs::write(path, &generated).expect("web/sdk/wire.ts can be written");
    }
    let kept = std::fs::read_to_string(path).expect("web/sdk/wire.ts exists");
    assert!(kept == generated, "web/sdk/wire.ts is not what the Rust types say: run `make types`");
}

#[test]
fn the_protocol_page_carries_the_fingerprint() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    let page = std::fs::read_to_string(path).expect("docs/protocol.md exists");
    let fingerprint = frame_fingerprint();
    assert!(
        page.contains(&fingerprint),
        "the frames changed: describe the change in docs/protocol.md and set its fingerprint to {fingerprint}"
    );
}

const BEGIN: &str = "<!-- app types: written by `make types` -->\n";
const END: &str = "<!-- end of app types -->";

#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads whether it is to write")]
fn the_protocol_page_lists_the_types_of_the_application_protocol() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    let page = std::fs::read_to_string(path).expect("docs/protocol.md exists");
    let (head, rest) = page.split_once(BEGIN).expect("the page has a place for them");
    let (_, tail) = rest.split_once(END).expect("the place ends");
    let config = Config::default().with_large_int("number");
    let types = app::typescript(&config).join("\n");
    let current = format!("{head}{BEGIN}\n```ts\n{types}\n```\n\n{END}{tail}");
    if std::env::var_os("BELAY_BLESS").is_some() {
        std::fs::write(path, &current).expect("docs/protocol.md can be written");
    }
    let page = std::fs::read_to_string(path).expect("docs/protocol.md exists");
    assert!(page == current, "docs/protocol.md is not what the Rust types say: run `make types`");
}
