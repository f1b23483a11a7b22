//! What a server says when it is asked.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use jiff::Timestamp;
use mk8s_store::{CommitError, MemberChange, Store, snapshot::Chunks};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use tokio_util::sync::CancellationToken;

use super::{
    Lines, Removed, SERVERS, frames,
    members::{self, Member},
    seal,
    talk::{Answer, EncryptionStatus, Joiner, MemberState, Question, Status},
};
use crate::{
    auth::{MASTERS, Peer, Pki, authenticate::same_secret},
    encryption, snapshot,
};

/// How long whoever connects may take to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A wrong secret is answered late, so that guessing takes longer than a life.
const WRONG_SECRET: Duration = Duration::from_secs(1);

/// This server as a member.
#[derive(Clone)]
pub struct Cluster {
    pub store: Store,
    pub pki: Arc<Pki>,
    pub me: Member,
    pub lines: Lines,
    /// Who was there when it joined, for when the store does not say.
    pub remembered: Arc<[Member]>,
    pub removed: Removed,
    /// What is said once it is.
    pub remedy: Arc<str>,
    /// Ends the lines from other servers: later than all else, so that the lead can be handed over.
    pub end: CancellationToken,
}

impl Cluster {
    /// Answers one question.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, peer: &Peer) {
        let question = match timeout(PATIENCE, frames::read(&mut stream, frames::TALK_MAX)).await {
            Ok(Ok(Some((_, question)))) => question,
            _ => return,
        };
        let (answer, rest) = match serde_json::from_slice(&question) {
            Ok(Question::Snapshot) => match self.snapshot(peer).await {
                Ok(chunks) => (Answer::Follows, Some(chunks)),
                Err(answer) => (answer, None),
            },
            Ok(question) => (self.answer(question, peer).await, None),
            Err(_) => {
                let why = "the question is not known here: is this server of another version?".to_owned();
                (Answer::Refused { why }, None)
            }
        };
        if let Err(error) = tell(&mut stream, &answer, rest).await {
            tracing::debug!(%error, address = ?peer.addr, "an answer was not taken");
        }
    }

    async fn snapshot(&self, peer: &Peer) -> Result<Chunks, Answer> {
        if !is_trusted(peer) {
            return Err(untrusted());
        }
        if self.me.witness {
            return Err(Answer::Refused { why: self.has_no_data() });
        }
        let view = self.store.fresh().await.map_err(|error| Answer::Later { why: error.to_string() })?;
        let about = snapshot::describe(&self.pki, &self.me.name, &view, Timestamp::now());
        let about = about.map_err(|error| Answer::Later { why: format!("{:#}", anyhow::Error::new(error)) })?;
        tracing::info!(revision = view.revision(), keys = view.len(), address = ?peer.addr, "a snapshot is saved");
        Ok(Chunks::new(&about, self.store.pieces(view)))
    }

    async fn answer(&self, question: Question, peer: &Peer) -> Answer {
        match question {
            Question::Ca => Answer::Ca { pem: self.pki.ca_pem().to_owned() },
            _ if self.removed.is_known() => Answer::Refused { why: self.remedy.to_string() },
            Question::Join { secret, joiner } => {
                if !same_secret(self.pki.join_secret().as_bytes(), secret.as_bytes()) {
                    tracing::warn!(address = ?peer.addr, name = joiner.name, "a server with a wrong token wanted to join");
                    tokio::time::sleep(WRONG_SECRET).await;
                    let why = "the token is wrong: it is in <data-dir>/server/token on any server of the cluster";
                    return Answer::Refused { why: why.to_owned() };
                }
                self.join(&joiner).await.unwrap_or_else(|answer| answer)
            }
            _ if !is_trusted(peer) => untrusted(),
            Question::Status => self.status().await,
            Question::Snapshot => unreachable!("answered with what follows"),
            Question::Remove { id } => self.remove(id).await.unwrap_or_else(|answer| answer),
            Question::Encryption if self.me.witness => Answer::Refused { why: self.has_no_data() },
            Question::Encryption => self.encryption(),
            Question::RotateEncryption => self.rotate_encryption().await.unwrap_or_else(|answer| answer),
            Question::Transfer { to } => self.transfer(to).await.unwrap_or_else(|answer| answer),
        }
    }

    /// Gives nothing when this server leads, otherwise what to say.
    fn leads(&self) -> Result<(), Answer> {
        let leadership = *self.store.leadership().borrow();
        if leadership.here {
            return Ok(());
        }
        let other = leadership.leader.filter(|leader| *leader != self.me.id);
        Err(match other.and_then(|leader| self.lines.address_of(leader)) {
            Some(address) => Answer::Elsewhere { address },
            None => Answer::Later { why: "the cluster has no leader at the moment; try again".to_owned() },
        })
    }

    /// The members' records; a witness has none, and goes by what it heard.
    fn known(&self) -> BTreeMap<u64, Member> {
        if !self.me.witness {
            return members::all(&self.store.view());
        }
        let known = self.remembered.iter().chain([&self.me]).map(|member| (member.id, member.clone()));
        let mut known: BTreeMap<u64, Member> = known.collect();
        for (id, member) in &mut known {
            member.address = self.lines.address_of(*id).unwrap_or_else(|| member.address.clone());
        }
        known
    }

    /// A witness says whom to ask instead: the leader, or anyone else.
    pub(crate) fn has_no_data(&self) -> String {
        let leader = self.store.leadership().borrow().leader;
        let address = leader.filter(|leader| *leader != self.me.id).and_then(|leader| self.lines.address_of(leader));
        let address = address.or_else(|| {
            let other = self.known().into_values().find(|member| !member.witness)?;
            Some(other.address)
        });
        let whom = address.map_or_else(|| "another server".to_owned(), |address| format!("https://{address}"));
        format!("this server is a witness: it votes and has no data; ask {whom}")
    }

    /// Another server has said where it is. A witness has no records to go by, and none to say it in: others do that.
    pub(super) fn heard_from(&self, id: u64, address: &str) {
        if self.me.witness {
            return self.lines.hear_of(id, address);
        }
        let known = members::all(&self.store.view()).remove(&id);
        let Some(moved) = known.filter(|member| member.witness && member.address != address) else { return };
        tracing::info!(id, address, "the witness is at another address");
        // To write it down the witness may be needed, so it must be reached first.
        self.lines.hear_of(id, address);
        let (store, moved) = (self.store.clone(), Member { address: address.to_owned(), ..moved });
        tokio::spawn(async move {
            if let Err(error) = members::say(&store, &moved).await {
                tracing::info!(id, %error, "the witness' new address is written down when it connects again");
            }
        });
    }

    async fn join(&self, joiner: &Joiner) -> Result<Answer, Answer> {
        self.leads()?;
        let Joiner { name, address, witness, .. } = joiner;
        if name.is_empty() || name.len() > 253 || address.is_empty() || address.len() > 300 {
            return Err(Answer::Refused { why: "a server's name and address must not be empty or very long".into() });
        }
        if let Some(why) = joiner.is_too_old(self.store.seal_status().is_some_and(|status| status.key.is_some())) {
            tracing::warn!(name, address, why, "a server cannot join");
            return Err(Answer::Refused { why });
        }
        // Whoever joins takes messages only of those it knows.
        members::say(&self.store, &self.me).await.map_err(undecided)?;
        self.make_room_for(name).await?;
        if *witness {
            let view = self.store.view();
            let witnesses = members::witnesses(&view);
            let why = match witnesses.first() {
                Some(id) => {
                    format!("there is a witness already, one is enough: remove it first with mk8s cluster remove {id}")
                }
                None if members::all(&view).len() < 2 => {
                    "a witness is the third vote beside two servers with data: let a second server join first"
                        .to_owned()
                }
                None => String::new(),
            };
            if !why.is_empty() {
                return Err(Answer::Refused { why });
            }
        }
        let member = members::add(&self.store, name, address, *witness).await.map_err(undecided)?;
        let added = self.store.change_member(MemberChange::AddLearner(member.id)).await;
        if let Err(error) = added {
            // It has no vote and no record, so that whoever tries again finds room.
            drop(members::forget(&self.store, member.id).await);
            return Err(undecided(error));
        }
        let keys = self.pki.secrets().map_err(|error| {
            tracing::error!(%error, "the cluster's keys cannot be read for a server that joins");
            Answer::Refused { why: "this server cannot read the cluster's keys; see its log".to_owned() }
        })?;
        let text = serde_json::to_vec(&keys).expect("plain strings become JSON");
        let sealed = seal::seal(self.pki.join_secret(), &text);
        tracing::info!(id = member.id, name, address, "a server joins");
        let members = members::all(&self.store.view()).into_values().collect();
        Ok(Answer::Joined { id: member.id, sealed, members })
    }

    /// A server that has lost its disk comes back under its name: its old place is given up.
    async fn make_room_for(&self, name: &str) -> Result<(), Answer> {
        let known = members::all(&self.store.view());
        let status = self.store.members().await.map_err(|_| closing())?;
        for member in known.values().filter(|member| member.name == name) {
            let active = status.iter().any(|one| one.id == member.id && one.active == Some(true));
            if active || member.id == self.me.id {
                let why = format!(
                    "a server named {name} is a member and answers: choose another --node-name, or remove it with mk8s cluster remove {}",
                    member.id
                );
                return Err(Answer::Refused { why });
            }
            self.drop_member(member.id).await?;
        }
        Ok(())
    }

    async fn drop_member(&self, id: u64) -> Result<(), Answer> {
        let status = self.store.members().await.map_err(|_| closing())?;
        if status.iter().any(|member| member.id == id) {
            self.store.change_member(MemberChange::Remove(id)).await.map_err(undecided)?;
        }
        members::forget(&self.store, id).await.map_err(undecided)
    }

    async fn remove(&self, id: u64) -> Result<Answer, Answer> {
        self.leads()?;
        let status = self.store.members().await.map_err(|_| closing())?;
        let known = members::all(&self.store.view());
        if !status.iter().any(|member| member.id == id) && !known.contains_key(&id) {
            let ids: Vec<String> = status.iter().map(|member| member.id.to_string()).collect();
            return Err(Answer::Refused { why: format!("there is no member {id}: there are {}", ids.join(", ")) });
        }
        self.drop_member(id).await?;
        Ok(Answer::Done)
    }

    async fn transfer(&self, to: Option<u64>) -> Result<Answer, Answer> {
        self.leads()?;
        let mut leadership = self.store.leadership();
        if to == Some(self.me.id) {
            return Ok(Answer::Done);
        }
        let status = self.store.members().await.map_err(|_| closing())?;
        let witnesses = members::witnesses(&self.store.view());
        if let Some(id) = to.filter(|to| witnesses.contains(to)) {
            return Err(Answer::Refused {
                why: format!("member {id} is a witness, which has no data and does not lead"),
            });
        }
        let can = |id: u64| !witnesses.contains(&id) && to.map_or(id != self.me.id, |to| id == to);
        if !status.iter().any(|member| member.voter && can(member.id)) {
            return Err(Answer::Refused { why: "there is no such voter to take the lead".to_owned() });
        }
        self.store.transfer_lead(to);
        let moved = leadership.wait_for(|now| now.leader.is_some_and(|leader| leader != self.me.id));
        match timeout(PATIENCE / 2, moved).await {
            Ok(_) => Ok(Answer::Done),
            Err(_) => Err(Answer::Refused { why: "the lead was not taken over: is that server up and close?".into() }),
        }
    }

    fn encryption(&self) -> Answer {
        let status = self.store.seal_status();
        Answer::Encryption(status.map(EncryptionStatus::from).unwrap_or_default())
    }

    async fn rotate_encryption(&self) -> Result<Answer, Answer> {
        if self.store.seal_status().is_none_or(|status| status.key.is_none() && status.covered.is_empty()) {
            let why = "encryption is off on this server (--secrets-encryption=false), and there is nothing to rotate";
            return Err(Answer::Refused { why: why.to_owned() });
        }
        let changed = encryption::change_key(&self.store, self.me.id, false).await;
        let name = changed.map_err(|error| match error {
            encryption::KeyError::Undecided(error) => undecided(error),
            older @ encryption::KeyError::Older { .. } => Answer::Refused { why: older.to_string() },
        })?;
        tracing::info!(name, "the key that Secrets are sealed with was rotated");
        let rewritten = async {
            while self.store.seal_status().is_some_and(|status| status.rewriting) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // What takes longer goes on by itself.
        drop(timeout(PATIENCE / 2, rewritten).await);
        Ok(self.encryption())
    }

    async fn status(&self) -> Answer {
        let leadership = *self.store.leadership().borrow();
        // The leader knows more; without one, what is known here.
        if let Err(elsewhere @ Answer::Elsewhere { .. }) = self.leads() {
            return elsewhere;
        }
        let Ok(status) = self.store.members().await else { return closing() };
        let known = self.known();
        let members = status.into_iter().map(|member| MemberState::new(member, known.get(&member.id))).collect();
        Answer::Status(Status { term: leadership.term, revision: self.store.revision(), members })
    }
}

fn is_trusted(peer: &Peer) -> bool {
    peer.user.as_ref().is_some_and(|user| user.in_group(MASTERS) || user.in_group(SERVERS))
}

fn untrusted() -> Answer {
    let why = "only administrators and servers may ask that: use the certificate of system:admin";
    Answer::Refused { why: why.to_owned() }
}

/// Says an answer, and what follows it. Whoever takes nothing for long is left.
async fn tell<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    answer: &Answer,
    rest: Option<Chunks>,
) -> io::Result<()> {
    let answer = serde_json::to_vec(answer).expect("plain fields become JSON");
    timeout(PATIENCE, frames::write(stream, 0, &answer)).await??;
    if let Some(chunks) = rest {
        for chunk in chunks {
            timeout(PATIENCE, frames::write(stream, 0, &chunk)).await??;
        }
        timeout(PATIENCE, frames::write(stream, 0, &[])).await??;
    }
    timeout(PATIENCE, async {
        stream.flush().await?;
        stream.shutdown().await
    })
    .await?
}

fn undecided(error: CommitError) -> Answer {
    Answer::Later { why: error.to_string() }
}

fn closing() -> Answer {
    Answer::Later { why: "this server is stopping".to_owned() }
}
