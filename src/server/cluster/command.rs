//! `mk8s cluster`: what an administrator on a server's machine asks it, or makes of it.

use std::path::Path;

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{
    Access,
    access::columns,
    rebuild::{self, Rebuilt},
    talk::{self, Answer, MemberState, Question, Status},
};

/// The flags of `mk8s cluster`.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Who leads, how many servers may be lost, and how the servers are
    Status,
    /// The servers, one a line
    Members,
    /// Remove a server; it is not asked
    Remove {
        /// Its number, as `members` shows it
        id: u64,
    },
    /// Hand the lead to another server
    Transfer {
        /// Its number; without one, the server that is nearest
        id: Option<u64>,
    },
    /// Begin a new cluster with what this server has, when most servers are lost; mk8s must not run
    Recover {
        /// Yes, the others are lost
        #[arg(long)]
        yes: bool,
    },
}

/// Carries the command out; gives the lines to print.
///
/// # Errors
/// What is wrong, and what to do.
pub async fn command(arguments: ClusterArgs) -> anyhow::Result<Vec<String>> {
    let ClusterArgs { verb, access } = arguments;
    if let Verb::Recover { yes } = verb {
        return recovered(&access.server_dir(), yes);
    }
    let (address, tls) = access.to_server()?;
    let question = match &verb {
        Verb::Status | Verb::Members | Verb::Recover { .. } => Question::Status,
        Verb::Remove { id } => Question::Remove { id: *id },
        Verb::Transfer { id } => Question::Transfer { to: *id },
    };
    match (talk::ask_leader(&address, tls, &question).await?, verb) {
        (Answer::Status(status), Verb::Status) => Ok(summary(&status).into_iter().chain(table(&status)).collect()),
        (Answer::Status(status), _) => Ok(table(&status)),
        (Answer::Done, Verb::Remove { id }) => Ok(vec![format!("member {id} removed")]),
        (Answer::Done, Verb::Transfer { .. }) => Ok(vec!["lead transferred".to_owned()]),
        (Answer::Refused { why } | Answer::Later { why }, _) => bail!(why),
        _ => bail!("{} answers something else than was asked: is it of another version?", access.server()),
    }
}

/// The last server that is left begins a new cluster.
fn recovered(server_dir: &Path, yes: bool) -> anyhow::Result<Vec<String>> {
    if !yes {
        bail!(
            "this makes a new cluster of {} alone, for when most servers are lost for good. What only the others had is \
             lost, and none of them may ever run again with its old data directory. If that is so, say --yes",
            server_dir.display()
        );
    }
    let Rebuilt { member, revision, keys, before } = rebuild::recover(server_dir, Timestamp::now())?;
    let mut lines = vec![format!("recovered: {keys} keys, revision {revision}; this is member {member} now")];
    lines.extend(before.map(|before| format!("the store as it was is in {}", before.display())));
    lines.push("start mk8s server here; on every other server remove the data directory and join again".to_owned());
    Ok(lines)
}

fn summary(status: &Status) -> Vec<String> {
    let voters = status.members.iter().filter(|member| member.voter).count();
    let up = status.members.iter().filter(|member| member.voter && member.active != Some(false)).count();
    let needed = voters / 2 + 1;
    let spare = match up.checked_sub(needed) {
        Some(spare) => format!("{spare} more may be lost"),
        None => "no write is taken".to_owned(),
    };
    let leader = status.members.iter().find(|member| member.leader);
    let leader = match leader {
        Some(witness) if witness.witness => format!("no leader; the witness {} looks for one", witness.name),
        Some(leader) => format!("leader {} ({})", leader.name, leader.id),
        None => "no leader".to_owned(),
    };
    vec![
        format!("{leader}, term {}, revision {}", status.term, status.revision),
        format!("{up} of {voters} voting servers are up, {needed} are needed: {spare}"),
        String::new(),
    ]
}

fn table(status: &Status) -> Vec<String> {
    let rows = status.members.iter().map(|member| {
        let behind = member.behind.map_or_else(|| "?".to_owned(), |behind| behind.to_string());
        [member.id.to_string(), member.name.clone(), member.address.clone(), role(member), health(member), behind]
    });
    let head = ["ID", "NAME", "ADDRESS", "ROLE", "HEALTH", "BEHIND"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
    columns(&rows)
}

fn role(member: &MemberState) -> String {
    let role = match (member.leader, member.voter) {
        (_, true) if member.witness => "witness",
        (true, _) => "leader",
        (false, true) => "voter",
        (false, false) => "learner",
    };
    role.to_owned()
}

fn health(member: &MemberState) -> String {
    let health = match member.active {
        Some(true) if member.full => "disk full",
        Some(true) => "up",
        Some(false) => "down",
        None => "unknown",
    };
    health.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_status_says_how_many_may_be_lost() {
        let member = |id, name: &str, leader, voter, active| MemberState {
            id,
            name: name.to_owned(),
            address: format!("10.0.0.{id}:6443"),
            voter,
            leader,
            witness: id == 5,
            full: id == 4,
            behind: Some(0),
            active: Some(active),
        };
        let members = vec![
            member(1, "a", false, true, true),
            member(2, "bb", true, true, true),
            member(3, "c", false, true, false),
            member(4, "d", false, false, true),
            member(5, "e", false, true, true),
        ];
        let status = Status { term: 7, revision: 1234, members };
        let lines: Vec<String> = summary(&status).into_iter().chain(table(&status)).collect();
        expect![[r"
            leader bb (2), term 7, revision 1234
            3 of 4 voting servers are up, 3 are needed: 0 more may be lost

            ID   NAME   ADDRESS         ROLE      HEALTH      BEHIND
            1    a      10.0.0.1:6443   voter     up          0
            2    bb     10.0.0.2:6443   leader    up          0
            3    c      10.0.0.3:6443   voter     down        0
            4    d      10.0.0.4:6443   learner   disk full   0
            5    e      10.0.0.5:6443   witness   up          0"]]
        .assert_eq(&lines.join("\n"));
    }
}
