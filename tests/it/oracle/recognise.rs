//! Which of the expected events each heard one is.

use std::collections::{HashMap, HashSet};

use super::clients::{Heard, Segment};
use super::expected::{Answer, Expected, Identity, Phase, Range};
use super::policy::Who;
use super::wanted::Wanted;

/// All that may be told under one subscription.
pub struct Known {
    pub due: Answer,
    /// What happened before, by today's policy, and by that of the phase before; as far as anything of it was heard.
    past: [Answer; 2],
    range: Range,
    /// Rows of a snapshot.
    rows: Answer,
}

/// What is known of a segment.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub is_whole: bool,
    /// It goes on from the phase before, so that its beginning may have been told by other rules.
    pub may_be_former: bool,
    /// From this transaction on the server did not believe that it had been told anything: Postgres has crashed since. So
    /// it may be told, too, what happened before it was there.
    pub doubted_since: Option<u64>,
}

/// A heard event, and what it is; `None` for one that should not be.
pub struct Told<'k> {
    pub heard: &'k Heard,
    pub identity: Identity,
    pub event: Option<&'k Expected>,
    pub is_past: bool,
}

impl Known {
    /// Asks Postgres what might be told: what happened after the range must be, and what happened in it may have been.
    pub async fn ask(
        phase: &Phase<'_>,
        who: Who,
        wanted: &Wanted,
        range: Range,
        segments: &[Segment],
    ) -> Self {
        let due = phase.due(who, wanted, range.floor).await;
        let heard = segments.iter().flat_map(|segment| &segment.heard);
        let heard: Vec<_> = heard.filter(|heard| heard.name == wanted.name).collect();
        let of = |heard: &[&Heard]| heard.iter().map(|heard| version(heard)).collect::<Vec<_>>();
        let (shown, told): (Vec<_>, Vec<_>) = heard
            .into_iter()
            .partition(|heard| heard.action == "snapshot");
        let unknown: Vec<_> = told
            .into_iter()
            .filter(|heard| !due.contains_key(&identity(heard)))
            .filter(|heard| heard.action != "resync" && heard.action != "ready")
            .collect();
        let left = unknown.iter().filter(|heard| heard.action == "leave");
        let left: HashSet<_> = left.map(|heard| heard.id().to_owned()).collect();
        let mut past = [Answer::new(), Answer::new()];
        if !unknown.is_empty() && !range.is_empty() {
            let policies = [phase.policy, phase.former_policy];
            for (past, policy) in past.iter_mut().zip(policies) {
                *past = phase
                    .past(who, wanted, policy, &range, &of(&unknown), &left)
                    .await;
            }
        }
        let rows = match shown.is_empty() {
            true => Answer::new(),
            false => phase.rows(who, wanted, &of(&shown)).await,
        };
        Self {
            due,
            past,
            range,
            rows,
        }
    }

    /// Recognises what was heard in a segment of this kind. `precedes` says which transactions had surely ended before
    /// others.
    pub fn recognise<'k>(
        &'k self,
        heard: &[&'k Heard],
        kind: Kind,
        precedes: impl Fn(u64, u64) -> bool,
    ) -> Vec<Told<'k>> {
        let mut places: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        let mut told: Vec<Told<'k>> = Vec::with_capacity(heard.len());
        for (at, heard) in heard.iter().enumerate() {
            let record = (heard.collection(), heard.id());
            places.entry(record).or_default().push(at);
            told.push(self.one(heard, identity(heard), kind));
        }
        // Whoever is told what is doubted is told all of it.
        let begin = self.range.begin;
        let mut events = told.iter().filter_map(|told| told.event);
        let is_doubted = events.any(|event| event.place.0 <= begin);
        for ((collection, id), of_record) in places {
            let leaves = self.leaves(collection, id, kind, is_doubted);
            for (turn, at) in of_record.iter().enumerate() {
                if heard[*at].action == "leave" {
                    let leaves = fitting(&leaves, &told, *at, &precedes);
                    let place = |at: &usize| told[*at].event.map(|event| event.place);
                    let before = of_record[..turn].iter().rev().find_map(place);
                    let after = of_record[turn + 1..].iter().find_map(place);
                    if let Some(leave) = which_leave(&leaves, before, after, kind.is_whole) {
                        told[*at] = self.one(heard[*at], leave.clone(), kind);
                    }
                }
            }
        }
        told
    }

    fn one<'k>(&'k self, heard: &'k Heard, identity: Identity, kind: Kind) -> Told<'k> {
        let now = self.due.get(&identity).or_else(|| self.rows.get(&identity));
        let may_be = |event: &&Expected| self.range.holds(event, kind.doubted_since);
        let past = self.past[0].get(&identity).filter(may_be);
        let former = || self.past[1].get(&identity).filter(|_| kind.may_be_former);
        let former = || former().filter(may_be);
        let event = now.or(past).or_else(former);
        Told {
            heard,
            event,
            is_past: now.is_none(),
            identity,
        }
    }

    /// All events by which a record leaves, in their order. Of those of the phase before a stream that goes on was
    /// told then. Those that are doubted only where such are told, or there is nothing else that it can be.
    fn leaves(&self, collection: &str, id: &str, kind: Kind, is_doubted: bool) -> Vec<Leave> {
        let doubted_since = kind.doubted_since.filter(|_| is_doubted);
        let leaves = self.leaves_but(collection, id, kind.may_be_former, doubted_since);
        match leaves.is_empty() {
            true => self.leaves_but(collection, id, kind.may_be_former, kind.doubted_since),
            false => leaves,
        }
    }

    fn leaves_but(
        &self,
        collection: &str,
        id: &str,
        goes_on: bool,
        doubted_since: Option<u64>,
    ) -> Vec<Leave> {
        let leaves = |answer: &'_ Answer| {
            let leaves = answer.iter().filter(|((about, action, of, _), event)| {
                let is_it = about == collection && action == "leave" && of == id;
                // What is due comes after the range.
                is_it && self.range.holds(event, doubted_since)
            });
            let leaves = leaves.map(|(identity, event)| Leave {
                place: event.place,
                xid: event.xid,
                identity: identity.clone(),
            });
            leaves.collect::<Vec<_>>()
        };
        let mut all = leaves(&self.due);
        match goes_on {
            true if all.is_empty() => all.extend(self.past.iter().flat_map(leaves)),
            true => {}
            // A stream that begins is told the past by the rules of today.
            false => all.extend(leaves(&self.past[0])),
        }
        all.sort();
        all.dedup();
        all
    }
}

/// An event by which a record leaves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Leave {
    place: (i64, i32),
    xid: u64,
    identity: Identity,
}

/// Those that can stand at this place among what was told: after none that surely came later, before none that surely
/// came earlier. All of them, if none can.
fn fitting(
    leaves: &[Leave],
    told: &[Told<'_>],
    at: usize,
    precedes: impl Fn(u64, u64) -> bool,
) -> Vec<Leave> {
    let known = told.iter().enumerate();
    let known = known.filter(|(_, told)| told.heard.action != "leave");
    let known: Vec<_> = known
        .filter_map(|(other, told)| Some((other, told.event?.xid)))
        .collect();
    let fits = |leave: &&Leave| {
        known.iter().all(|(other, xid)| match *other < at {
            true => !precedes(leave.xid, *xid),
            false => !precedes(*xid, leave.xid),
        })
    };
    let fitting: Vec<_> = leaves.iter().filter(fits).cloned().collect();
    match fitting.is_empty() {
        true => leaves.to_vec(),
        false => fitting,
    }
}

/// An event by which a record leaves says not which version of it did. But between two others of the same record
/// there is only one.
fn which_leave(
    leaves: &[Leave],
    before: Option<(i64, i32)>,
    after: Option<(i64, i32)>,
    is_whole: bool,
) -> Option<&Identity> {
    let mut sorted = leaves.iter();
    let found = match (before, after) {
        (_, Some(after)) => sorted.rfind(|leave| leave.place < after),
        (Some(before), None) => sorted.find(|leave| leave.place > before),
        (None, None) if is_whole => sorted.next_back(),
        // Any of them might be meant; then it is the first.
        (None, None) => sorted.next(),
    };
    found.map(|leave| &leave.identity)
}

fn version(heard: &Heard) -> i64 {
    heard.record["v"].as_i64().unwrap_or_default()
}

fn identity(heard: &Heard) -> Identity {
    (
        heard.collection().to_owned(),
        heard.action.clone(),
        heard.id().to_owned(),
        version(heard),
    )
}
