//! What a person sees.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    folder::Folder,
    relays::{Relay, SHARED},
    secrets::SECRETS,
    servers::Server,
};

/// Prints a line with the time (UTC). Nothing depends on whether anybody reads it.
pub(super) fn say(text: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let (hour, minute, second) = (now / 3_600 % 24, now / 60 % 60, now % 60);
    let _ = writeln!(std::io::stdout(), "{hour:02}:{minute:02}:{second:02}  {text}");
}

/// What is where.
pub(super) struct Table {
    url: String,
    folder: String,
    kept: bool,
    rows: Vec<[String; 4]>,
    servers: Vec<[String; 4]>,
}

impl Table {
    pub(super) fn new(url: String, folder: &Folder) -> Self {
        let (shown, kept) = (folder.path().display().to_string(), folder.is_kept());
        Self { url, folder: shown, kept, rows: Vec::new(), servers: Vec::new() }
    }

    pub(super) fn relay(&mut self, relay: &Relay) {
        let admin = format!("admin http://{}", relay.admin);
        self.rows.push([relay.name.clone(), relay.url(), format!("pid {}", relay.pid), admin]);
    }

    pub(super) fn servers(&mut self, servers: &[Server]) {
        let row = |s: &Server| {
            [s.name.clone(), s.address.clone(), format!("pid {}", s.pid()), String::new()]
        };
        self.servers = servers.iter().map(row).collect();
    }

    pub(super) fn print(&self) {
        let _ = write!(std::io::stdout(), "{}", self.text());
    }

    fn text(&self) -> String {
        let Self { url, folder, .. } = self;
        let pid = self.rows.first().map_or("", |row| row[2].trim_start_matches("pid "));
        let what = if self.kept { "kept" } else { "removed at the end" };
        let row = |[name, address, pid, more]: &[String; 4]| {
            format!("  {name:<10} {address:<24} {pid:<12} {more}").trim_end().to_owned()
        };
        let mut lines = vec![String::new(), format!("the cluster is up: {url}"), String::new()];
        lines.extend(self.rows.iter().chain(&self.servers).map(row));
        lines.extend([
            String::new(),
            format!("  folder     {folder} ({what}); each part has its log in it"),
            String::new(),
            "try".to_owned(),
            format!("  belay host --relay {url} --data-dir {folder}/desk"),
            format!("  kill -9 {pid}   # a relay; or the pid of any server above"),
            format!("  belay drain start --reason try --window 5 --data-dir {folder}/relay1"),
            format!("  belay why --data-dir {folder}/relay1"),
            format!("  open {url} in a browser"),
            "  one more relay, of which the balancer knows nothing:".to_owned(),
            format!(
                "    (set -a; . '{folder}/{SECRETS}'; exec belay serve --config '{folder}/{SHARED}' --instance \
                 more --data-dir '{folder}/more' --port 0 --admin-listen 127.0.0.1:0)"
            ),
            String::new(),
            "Ctrl-C ends all of it.".to_owned(),
            String::new(),
        ]);
        lines.join("\n") + "\n"
    }
}
