//! Documents that are made from the program, and commands that the documents name.

use std::{fmt::Write as _, process::Command};

use belay_relay::{Config, settings};

const BELAY: &str = env!("CARGO_BIN_EXE_belay");

fn docs(name: &str) -> String {
    format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn configuration() -> String {
    let mut page = String::from(
        "# Configuration\n\nEach setting is a flag of `belay serve` and `belay up`, a variable of \
         the environment, and a line of the file that `--config` names. Flags win over the \
         environment, which wins over the file. All faults are told at once, before a port is \
         bound. `belay config` prints the effective values.\n\n\
         | flag | environment | default | what it does |\n| --- | --- | --- | --- |\n",
    );
    let standard = Config::default();
    for setting in settings().iter().filter(|s| !s.hidden) {
        let names =
            [setting.env()].into_iter().chain(setting.old_env.iter().map(ToString::to_string));
        let names = names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let shown = (setting.show)(&standard);
        let default = match setting.name {
            "data-dir" => "`~/.local/share/belay`".to_owned(),
            _ if shown.is_empty() => String::new(),
            _ => format!("`{shown}`"),
        };
        let (name, help) = (setting.name, setting.help.replace('|', "\\|"));
        let _ =
            writeln!(page, "| `--{name}` | {names} | {default} | {} |", help.replace('<', "\\<"));
    }
    page.push_str(DESKTOP);
    page
}

/// What is not a setting of the relay.
const DESKTOP: &str = "
## The file

`belay config > belay.toml` writes every setting with its present value; `--config belay.toml`, or \
`BELAY_CONFIG`, reads it. A line looks like `device-idle = \"30d\"`.

## The desktop side

Flags of `belay up` and `belay host`:

| flag | environment | default | what it does |
| --- | --- | --- | --- |
| `--folder` | | the present folder | a folder in which threads may work; may be given more than once |
| `--agent` | | what is installed | `codex`, `acp` or `scripted` (a demo without a model); may be given more than once |
| `--codex` | `BELAY_CODEX` | `codex` on the search path | the Codex binary |
| `--acp` | `BELAY_ACP` | the first known one, if there is no Codex | command line of an agent that speaks ACP |
| `--name` | | the host name | name that phones show for this desktop |
| `--plain` | | off | plain lines instead of the full-screen terminal |
| `--lan` | | off | `belay up` only: let phones on this network in, by plain http |
| `--relay` | `BELAY_RELAY` | `http://127.0.0.1:8787` | `belay host` only: address of the relay |

`belay devices` takes `--data-dir` (give it what `belay up` was given) and `--admin` (`BELAY_ADMIN`), \
the address of the relay's admin listener.
";

#[test]
fn the_configuration_page_knows_every_flag() {
    let page = configuration();
    for command in [&["up"][..], &["host"], &["devices", "list"]] {
        let help = Command::new(BELAY).args(command).arg("--help").output().expect("it runs");
        let help = String::from_utf8(help.stdout).expect("text");
        let words = help.split(|c: char| c.is_whitespace() || "[]=,'\"`".contains(c));
        let flags: Vec<_> = words.filter(|w| w.starts_with("--") && w.len() > 2).collect();
        assert!(flags.len() > 2, "{help}");
        for flag in flags.iter().filter(|f| !["--help", "--version"].contains(f)) {
            let flag = flag.trim_end_matches(['.', ';', ':']);
            assert!(page.contains(&format!("`{flag}`")), "{flag} of {command:?}");
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads whether it is to write")]
fn the_configuration_page_is_current() {
    let path = docs("configuration.md");
    if std::env::var_os("BELAY_BLESS").is_some() {
        std::fs::write(&path, configuration()).expect("writable");
    }
    let kept = std::fs::read_to_string(&path).expect("docs/configuration.md exists");
    assert!(kept == configuration(), "docs/configuration.md is not current: run `make types`");
}

/// The lines of shell blocks in the documents that call `belay`.
fn commands() -> Vec<String> {
    let mut found = Vec::new();
    let pages = ["index.md", "protocol.md", "security.md", "performance.md", "connections.md"];
    for name in pages.into_iter().chain(["operations/cluster.md"]) {
        let text = std::fs::read_to_string(docs(name)).expect("the page exists");
        let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
        let lines = blocks.flat_map(str::lines).map(|l| l.split('#').next().unwrap_or(l).trim());
        found.extend(lines.filter(|l| l.starts_with("belay ")).map(str::to_owned));
    }
    found
}

#[test]
fn every_belay_command_in_the_documents_is_understood() {
    let commands = commands();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        // The command line is parsed in full before `--help` prints and ends it.
        let words = command.split_whitespace().skip(1).map(|w| w.trim_matches('"'));
        let joined: Vec<&str> = words.filter(|w| *w != "phone").collect();
        let output = Command::new(BELAY).args(&joined).arg("--help").output().expect("it runs");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_subcommand_teaches() {
    let help = |args: &[&str]| {
        let output = Command::new(BELAY).args(args).output().expect("it runs");
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    for name in ["up", "serve", "host", "devices", "drain", "why", "config", "cluster-dev"] {
        assert!(help(&["--help"]).contains(name), "{name} is listed");
        assert!(help(&[name, "--help"]).len() > 200, "{name} explains itself");
    }
}

#[test]
fn the_printed_configuration_is_a_file_that_is_read_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("belay.toml");
    let print = |args: &[&str]| {
        let output = Command::new(BELAY)
            .env_clear()
            .env("HOME", "/nowhere")
            .arg("config")
            .args(args)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let first = print(&["--port", "1234", "--admin-token", "planted-secret-value"]);
    assert!(first.contains("port = \"1234\""));
    assert!(!first.contains("planted-secret-value"), "secrets are not printed");
    std::fs::write(&file, &first).expect("written");

    let second = print(&["--config", file.to_str().expect("UTF-8")]);

    assert!(second.contains("port = \"1234\""));
}

#[test]
fn faults_of_the_configuration_are_told_together_and_nothing_starts() {
    let output = Command::new(BELAY)
        .args(["serve", "--port", "x", "--host", "0.0.0.0", "--log-format", "xml"])
        .output()
        .expect("it runs");

    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for part in ["port (flag)", "--insecure-lan", "log-format"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// The rows of the tables of `docs/security.md`: number, severity, threat, control, status, test.
fn threats() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(docs("security.md")).expect("docs/security.md exists");
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect();
    let rows = text.lines().filter(|l| l.starts_with("| ") && l.as_bytes()[2].is_ascii_digit());
    rows.map(cells).collect()
}

/// What stands between backticks.
fn named(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The text of all tests.
fn tests() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders: Vec<_> = ["crates", "web/e2e", "web/test"].map(|f| root.join(f)).into();
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            let kind = path.extension().and_then(|e| e.to_str());
            if path.is_dir() {
                folders.push(path);
            } else if matches!(kind, Some("rs" | "ts" | "tsx" | "mjs")) {
                text += &std::fs::read_to_string(path).expect("readable");
            }
        }
    }
    text
}

#[test]
fn no_critical_or_high_threat_is_open_and_each_closed_one_names_its_tests() {
    let (threats, tests) = (threats(), tests());
    assert!(threats.len() >= 60, "{} rows", threats.len());
    for (at, threat) in threats.iter().enumerate() {
        let [number, severity, _, _, status, shown_by] = threat.as_slice() else {
            panic!("six cells: {threat:?}")
        };
        assert_eq!(number.parse(), Ok(at + 1), "{threat:?}");
        assert!(["critical", "high", "medium", "low"].contains(&severity.as_str()), "{threat:?}");
        match status.as_str() {
            "closed" => assert!(!named(shown_by).is_empty(), "row {number} names no test"),
            "open" => {
                let may_be = ["medium", "low"].contains(&severity.as_str());
                assert!(may_be, "row {number} is open");
            }
            other => assert_eq!(other, "no such feature yet", "row {number}"),
        }
        for test in named(shown_by) {
            assert!(is_a_test(test, &tests), "row {number}: no test {test}");
        }
    }
}

/// By the name of a function or of a file.
fn is_a_test(name: &str, tests: &str) -> bool {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let is_file = name.contains('/') && root.join(name).is_file();
    is_file || [format!("fn {name}("), format!("'{name}'")].iter().any(|t| tests.contains(t))
}

#[test]
fn each_failure_that_is_promised_something_names_tests_that_exist() {
    let text = std::fs::read_to_string(docs("reliability.md")).expect("docs/reliability.md exists");
    let tests = tests();
    let (_, table) = text.split_once("| what fails |").expect("the table");
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 25, "{} rows", rows.len());
    for row in rows {
        let shown_by = row.trim_matches('|').split('|').next_back().unwrap_or_default();
        assert!(["simulation", "the same", "`"].iter().any(|w| shown_by.contains(w)), "{row}");
        for test in named(shown_by) {
            assert!(is_a_test(test, &tests), "no test {test}: {row}");
        }
    }
}
