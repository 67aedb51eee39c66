//! What is wrong with what was heard on one lane: what is told together, and in one order.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::clients::{Heard, Segment, Subscriber};
use super::expected::Phase;
use super::order::{Snapshot, is_sealed};
use super::recognise::{Kind, Known, Told};
use super::verdict::{Account, Judgement};
use super::wanted::Manner;

/// One lane of one client in one phase.
pub struct Lane<'p, 'l> {
    pub phase: &'p Phase<'p>,
    pub subscriber: &'p Subscriber,
    pub known: &'p HashMap<&'p str, Known>,
    pub account: Account,
    pub names: HashSet<&'p str>,
    pub has_snapshot: bool,
    /// It is told of the past by itself.
    pub is_alone: bool,
    /// How many events of each transaction must be told.
    pub due: BTreeMap<u64, usize>,
    pub judgement: &'l mut Judgement,
}

/// What is owed no more since the client was told to load afresh: subscription, collection, and what
/// the database held then.
type Excuses<'p> = Vec<(&'p str, &'p str, Snapshot)>;

fn is_excused(excuses: &Excuses<'_>, name: &str, collection: &str, xid: u64) -> bool {
    excuses
        .iter()
        .any(|(of, about, then)| *of == name && *about == collection && then.contains(xid))
}

impl<'p> Lane<'p, '_> {
    fn wrong(&mut self, what: String) {
        self.judgement.wrong.push(what);
    }

    pub fn judge(&mut self) {
        let segments = &self.subscriber.segments;
        let excuses = self.excuses(segments);
        let known = self.known;
        for name in &self.names {
            for (identity, event) in &known[name].due {
                if !is_excused(&excuses, name, &identity.0, event.xid) {
                    *self.due.entry(event.xid).or_default() += 1;
                }
            }
        }
        for (at, segment) in segments.iter().enumerate() {
            let is_last = at + 1 == segments.len();
            let is_whole = match self.is_alone {
                // No mark waits for it. Once there is nothing to wait for, the last stream has told all.
                true => is_last && self.subscriber.away.is_none(),
                false => segment.closed == self.phase.number,
            };
            self.segment(segment, is_whole, &excuses);
        }
        let away = self.subscriber.away.as_deref().map(Snapshot::parse);
        let passed = |xid: &u64| {
            let was_there = away.as_ref().is_some_and(|away| away.contains(*xid));
            was_there && !self.due.contains_key(xid)
        };
        let all = self.phase.snapshots.keys().copied();
        // What did not concern it then may do so by the rules of its return.
        let passed: Vec<_> = all.filter(passed).collect();
        self.account.excused.extend(passed);
    }

    fn excuses(&mut self, segments: &'p [Segment]) -> Excuses<'p> {
        let mut excuses = Excuses::new();
        for heard in segments.iter().flat_map(|segment| &segment.heard) {
            if heard.action == "resync" && self.names.contains(heard.name.as_str()) {
                let then = heard.as_of.as_deref().expect("asked for with a resync");
                excuses.push((&heard.name, heard.collection(), Snapshot::parse(then)));
                self.judgement.resyncs += 1;
                let breaks = &self.phase.breaks;
                // Somebody who truncates a table may hold it for longer than a snapshot waits.
                let was_locked = heard.reason.as_deref() == Some("unavailable");
                if !was_locked && !breaks.may_resync(self.subscriber, self.has_snapshot) {
                    self.wrong(format!("a resync that nothing justifies: {heard:?}"));
                }
            }
        }
        excuses
    }

    fn segment(&mut self, segment: &'p Segment, is_whole: bool, excuses: &Excuses<'_>) {
        let since = segment.since.as_deref().map(Snapshot::parse);
        if let Some(since) = &since {
            let before = self.due.keys().filter(|xid| since.contains(**xid));
            self.account = Account {
                excused: before.copied().collect(),
                ..Account::default()
            };
        }
        let told = self.recognise(segment, is_whole);
        let mut heard: HashMap<u64, usize> = HashMap::new();
        for told in &told {
            if let Some(event) = told.event.filter(|_| !told.is_past)
                && !is_excused(excuses, &told.heard.name, &told.identity.0, event.xid)
            {
                *heard.entry(event.xid).or_default() += 1;
            }
        }
        let order = self.events(&told);
        self.judgement.course.push(format!(
            "  {:.40}: begins {}, since {:?}, came with {:?}, whole {}, heard {order:?}",
            self.names.iter().next().unwrap_or(&""),
            segment.begins,
            segment.since,
            segment.came_with,
            is_whole
        ));
        if self.has_snapshot {
            return;
        }
        let heard = |xid: &u64| heard.get(xid).copied().unwrap_or_default();
        self.whole_transactions(is_whole, since.as_ref(), &order, heard);
        self.nothing_again(segment, &told, &order);
        self.nothing_skipped(segment, is_whole, since.as_ref(), &order);
        let whole = order
            .iter()
            .filter(|xid| self.due.get(xid) == Some(&heard(xid)));
        let whole: Vec<_> = whole.copied().collect();
        self.account.told.extend(whole);
        self.account.last = order.last().copied().or(self.account.last);
        let is_replayed = segment.begins && segment.since.is_none();
        if self.subscriber.manner != Manner::Keyed && !(is_replayed && self.phase.is_reordered) {
            self.judgement.orders.push(order);
        }
    }

    /// What was heard, in order, each with what it is.
    fn recognise(&self, segment: &'p Segment, is_whole: bool) -> Vec<Told<'p>> {
        let events = segment.heard.iter().enumerate();
        let events =
            events.filter(|(_, heard)| heard.action != "resync" && heard.action != "ready");
        let mut by_name: HashMap<&str, Vec<(usize, &Heard)>> = HashMap::new();
        for (at, heard) in events.filter(|(_, heard)| self.names.contains(heard.name.as_str())) {
            by_name.entry(&heard.name).or_default().push((at, heard));
        }
        let kind = Kind {
            is_whole,
            may_be_former: !segment.begins,
            // After a snapshot nothing older may come at all.
            doubted_since: match self.has_snapshot {
                true => None,
                false => self.subscriber.doubts(self.phase.lives, segment),
            },
        };
        let mut all = Vec::new();
        for (name, heard) in by_name {
            let (places, heard): (Vec<_>, Vec<_>) = heard.into_iter().unzip();
            let precedes = |one, other| self.phase.precedes(one, other);
            let told = self.known[name].recognise(&heard, kind, precedes);
            all.extend(places.into_iter().zip(told));
        }
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, told)| told).collect()
    }

    /// Each event is expected, once, with this content, after those of its record before; tells the order
    /// of the transactions.
    fn events(&mut self, told: &[Told<'_>]) -> Vec<u64> {
        let mut seen = HashSet::new();
        let mut places: HashMap<(&str, &str, &str), (i64, i32)> = HashMap::new();
        let mut order: Vec<u64> = Vec::new();
        for told in told {
            let Told {
                heard, identity, ..
            } = told;
            self.judgement.events += 1;
            let Some(event) = told.event else {
                self.wrong(format!("extra (or leaked): {heard:?}"));
                continue;
            };
            if event.record != heard.record {
                self.wrong(format!("another content: {heard:?}, not {}", event.record));
            }
            if !seen.insert((heard.name.as_str(), identity)) {
                self.wrong(format!("doubled: {heard:?}"));
            }
            let record = (heard.name.as_str(), identity.0.as_str(), heard.id());
            let last = places.insert(record, event.place);
            if last.is_some_and(|last| last >= event.place) {
                self.wrong(format!(
                    "before an earlier change of the same record: {heard:?}"
                ));
            }
            if order.last() != Some(&event.xid) && !self.has_snapshot {
                if order.contains(&event.xid) {
                    self.wrong(format!(
                        "transaction {} in two pieces: {heard:?}",
                        event.xid
                    ));
                }
                order.push(event.xid);
            }
        }
        order
    }

    /// All of a transaction or nothing, but where the stream began or was cut.
    fn whole_transactions(
        &mut self,
        is_whole: bool,
        since: Option<&Snapshot>,
        order: &[u64],
        heard: impl Fn(&u64) -> usize,
    ) {
        for (at, xid) in order.iter().enumerate() {
            let Some(due) = self.due.get(xid).copied() else {
                continue;
            };
            let is_first = at == 0 && since.is_some_and(|since| since.contains(*xid));
            let is_last = at + 1 == order.len() && !is_whole;
            if heard(xid) != due && !is_first && !is_last {
                let what = format!("{} of {due} events of transaction {xid}", heard(xid));
                self.judgement.missing.push(what);
            }
        }
        for (at, later) in order.iter().enumerate() {
            for earlier in &order[..at] {
                if self.phase.precedes(*later, *earlier) {
                    self.wrong(format!(
                        "transaction {earlier} heard before {later}, which it had seen"
                    ));
                }
            }
        }
    }

    /// Who comes back with an id is told again what it was cut in, and nothing of which the id says that it was told.
    fn nothing_again(&mut self, segment: &Segment, told: &[Told<'_>], order: &[u64]) {
        let past = told.iter().filter(|told| told.is_past);
        let past: HashSet<_> = past.filter_map(|told| Some(told.event?.xid)).collect();
        let again = |xid: &&u64| past.contains(xid) || self.account.told.contains(xid);
        let again: Vec<u64> = order.iter().filter(again).copied().collect();
        self.judgement.repeats += again.len();
        if self.subscriber.manner == Manner::Keyed {
            return;
        }
        for xid in again {
            let was_cut = self.account.last == Some(xid);
            if !(segment.begins && (was_cut || self.phase.is_reordered)) {
                self.wrong(format!("transaction {xid} told again without need"));
            }
        }
        let Some(id) = segment.came_with.as_deref() else {
            return;
        };
        // Of an id from before a crash little is believed.
        let doubted = self.phase.lives.doubted_of(id);
        for xid in order.iter().filter(|xid| is_sealed(id, **xid, doubted)) {
            self.wrong(format!(
                "transaction {xid} told to one who came back with {id}"
            ));
        }
    }

    /// No transaction is missing between those that were heard, or between them and the ends of the stream.
    fn nothing_skipped(
        &mut self,
        segment: &Segment,
        is_whole: bool,
        since: Option<&Snapshot>,
        order: &[u64],
    ) {
        let mut lost = Vec::new();
        for (xid, due) in &self.due {
            if order.contains(xid) {
                continue;
            }
            let Account { told, excused, .. } = &self.account;
            let earlier = order
                .iter()
                .find(|heard| self.phase.precedes(**heard, *xid));
            let was_before = match since {
                Some(since) => since.contains(*xid) && earlier.is_none(),
                None => told.contains(xid) || excused.contains(xid),
            };
            let later = order
                .iter()
                .find(|heard| self.phase.precedes(*xid, **heard));
            // What a stream was cut off before is due to the next one, if to any.
            if !was_before && (is_whole || later.is_some()) {
                let missed = self.missed(*xid);
                lost.push(format!(
                    "lost: transaction {xid}, {due} events ({missed}); heard before it: {earlier:?}, after it: {later:?}; since {:?}, came with {:?}",
                    segment.since, segment.came_with
                ));
            }
        }
        self.judgement.missing.extend(lost);
    }

    fn missed(&self, xid: u64) -> String {
        let events = self
            .names
            .iter()
            .flat_map(|name| self.known[name].due.iter().map(move |event| (name, event)));
        let of_it = events.filter(|(_, (_, event))| event.xid == xid);
        let mut lines: Vec<_> = of_it
            .map(|(name, (identity, event))| format!("{name}: {identity:?} {}", event.record))
            .collect();
        lines.sort();
        lines.truncate(5);
        lines.join("; ")
    }
}
