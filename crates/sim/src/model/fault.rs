//! What goes wrong.

use std::collections::BTreeMap;

use belay_core::{
    Input,
    delivery::Ask,
    ports::{AppendError, LogUnavailable},
    session::LogTold,
};

use super::{
    part::Part,
    scene::{Link, Scene, ToClient},
    setup::Fault,
};
use crate::{log::number_of, node::Node};
use belay_wire::ConnectionId;

impl Scene {
    pub(super) fn fail(&mut self, kind: Fault, of: usize) {
        (self.faults, self.waits) = (self.faults - 1, 0);
        match kind {
            Fault::Cut => self.cut(of),
            Fault::Crash => self.crash(of),
            Fault::Restart => {
                self.leave(of);
                self.people[of].edit().client.restart();
                self.come_again(of);
            }
            Fault::ForgetWriter | Fault::ForgetReader => {
                self.leave(of);
                self.people[of].edit().client.forget(self.audit.edit());
                self.come_again(of);
            }
            Fault::Refuse => self.refuse(of),
            Fault::Unknown => self.leave_unknown(of),
            Fault::GoBack | Fault::Lose => self.damage(kind),
            Fault::Sleep => self.sleep(),
            Fault::LoseBus => {
                let table = self.table.edit();
                table.bus[of].pop_front();
                table.doubts[of] = true;
            }
            Fault::DoubleBus => {
                if let Some(entry) = self.table.bus[of].front().cloned() {
                    self.hear_of(of, entry);
                }
            }
            Fault::Reorder => {
                if let Some(entry) = self.table.edit().bus[of].remove(1) {
                    self.hear_of(of, entry);
                }
            }
        }
    }

    pub(super) fn crash_unheard(&mut self, node: usize) {
        let links = self.links.edit().values_mut();
        let here = links.filter(|link| link.node == node && !link.closed);
        here.for_each(|link| link.to_client.clear());
        self.fail(Fault::Crash, node);
    }

    /// A node dies and starts again: what it asked the log may still be done.
    fn crash(&mut self, node: usize) {
        let table = self.table.edit();
        if let Some(ask @ Ask::Append { .. }) = table.asks[node].take() {
            table.late.push(ask);
        }
        table.bus[node].clear();
        table.doubts[node] = false;
        let links = self.links.edit();
        links.retain(|_, link| link.node != node || !link.left);
        for link in links.values_mut().filter(|link| link.node == node && !link.closed) {
            link.closed = true;
            link.to_node.clear();
            link.to_client.push_back(ToClient::Closed);
        }
        self.nodes[node] = Part::new(Node::start(&self.stage.shared, 0));
        self.give(node, Input::OpenLogs);
    }

    fn refuse(&mut self, node: usize) {
        let told = match self.table.edit().asks[node].take() {
            Some(Ask::Load) => LogTold::Loaded(Err(LogUnavailable(String::new()))),
            _ => LogTold::Appended(Err(AppendError::Refused(String::new()))),
        };
        self.tell_log(node, told);
    }

    fn leave_unknown(&mut self, node: usize) {
        let table = self.table.edit();
        table.late.extend(table.asks[node].take());
        self.tell_log(node, LogTold::Appended(Err(AppendError::Unknown(String::new()))));
    }

    /// The log goes back or is lost; nodes find out when they compare tails.
    fn damage(&mut self, kind: Fault) {
        let channel = self.stage.setup.channel;
        let (logs, audit) = (self.logs.edit(), self.audit.edit());
        let gone = if kind == Fault::GoBack {
            logs.go_back(channel, 1)
        } else {
            audit.log_gone(channel);
            logs.lose(channel)
        };
        audit.damage(channel);
        gone.iter().filter_map(number_of).for_each(|number| audit.log_lost(channel, number));
        self.drop_stale();
        // They compare tails at once, and once more a minute later.
        for node in 0..self.nodes.len() {
            self.table.edit().doubts[node] = true;
            self.tell_log(node, LogTold::Doubt);
        }
    }

    /// Everybody sleeps longer than anything is kept.
    fn sleep(&mut self) {
        self.drop_stale();
        let policy = &self.stage.shared.policy;
        let slept = policy.log_age.max(policy.command_ttl).as_millis() + 1;
        self.at += u64::try_from(slept).unwrap_or(0);
        (0..self.nodes.len()).for_each(|node| self.give(node, Input::Tick));
    }

    /// What ended connections still had under way is gone: two mishaps at once are promised nothing.
    fn drop_stale(&mut self) {
        let links: &mut BTreeMap<ConnectionId, Link> = self.links.edit();
        links.values_mut().filter(|link| link.left).for_each(|link| link.to_node.clear());
    }
}
