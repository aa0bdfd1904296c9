//! `belay serve` as a process, configured by the environment only, as the field's start scripts do.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use belay_testkit::compat::Net;

/// The page of the web client.
pub(crate) const PAGE: &str = "https://phone.example.org";

/// A relay process; it ends with the last one who holds it.
pub(crate) struct Relay {
    child: Child,
    pub(crate) url: String,
    folder: Arc<tempfile::TempDir>,
    settings: Vec<(String, String)>,
    _input: Option<std::process::ChildStdin>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Relay {
    /// Starts a relay with settings of the environment beside those that all tests need.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        Self::on(folder, settings.iter().map(own).collect(), 0)
    }

    fn on(folder: Arc<tempfile::TempDir>, settings: Vec<(String, String)>, port: u16) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_belay"));
        command
            .args(["serve", "--exit-with-stdin"])
            .env_clear()
            .env("PORT", port.to_string())
            .env("HOST", "127.0.0.1")
            .env("ALLOWED_ORIGINS", PAGE)
            .env("MAX_PAIR_REQUESTS_PER_MINUTE", "100000")
            .env("BELAY_ADMIN_LISTEN", "127.0.0.1:0")
            .env("BELAY_UNAUTHENTICATED_PER_ADDRESS_MAX", "10000")
            .env("BELAY_LOG_FORMAT", "json")
            .env("BELAY_DATA_DIR", folder.path())
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(
                std::fs::File::options()
                    .append(true)
                    .create(true)
                    .open(log(&folder))
                    .expect("a log"),
            );
        let mut child = command.spawn().expect("the relay starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let input = child.stdin.take();
        let port = line.trim().strip_prefix("ready ").unwrap_or_else(|| {
            panic!("not ready: {}", std::fs::read_to_string(log(&folder)).unwrap_or_default())
        });
        let url = format!("http://127.0.0.1:{port}");
        Self { child, url, folder, settings, _input: input }
    }

    /// Kills it with SIGKILL and starts it again on its port and folder.
    pub(crate) fn kill_and_restart(self) -> Self {
        let port = self.url.rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port");
        let (folder, settings) = (self.folder.clone(), self.settings.clone());
        drop(self);
        Self::on(folder, settings, port)
    }

    /// The same with other settings.
    pub(crate) fn restart_with(mut self, settings: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.settings = settings.iter().map(own).collect();
        self.kill_and_restart()
    }

    /// Asks it to end, as an operator's service manager does.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data folder.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Everything that it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log(&self.folder)).expect("a log")
    }

    /// A client that is no browser.
    pub(crate) fn native(&self) -> Net {
        Net::native(&self.url)
    }

    /// The web client.
    pub(crate) fn page(&self) -> Net {
        Net::page(&self.url, PAGE)
    }

    /// One of the numbers of `/metricsz`.
    pub(crate) async fn number(&self, name: &str) -> i64 {
        let numbers = self.native().get("/metricsz").await.body;
        numbers[name].as_i64().unwrap_or_else(|| panic!("{name} in {numbers}"))
    }
}

fn log(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("test.log")
}
