//! When the judgement of a client is final, and how it is reported.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::clients::Subscriber;
use super::expected::Phase;
use super::verdict::{Judgement, judge};
use super::view::View;
use super::wanted::Wanted;

/// How long what is missing may take to come: the machine may have much else to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Judges a subscriber; where it may be told more for a while, again and again until nothing is missing.
pub async fn settle(phase: &Phase<'_>, subscriber: &mut Subscriber) -> Judgement {
    let end = Instant::now() + PATIENCE;
    loop {
        subscriber.take();
        let mut judgement = judge(phase, subscriber).await;
        let views = look(phase, subscriber, &mut judgement).await;
        let is_done = judgement.missing.is_empty()
            || !judgement.wrong.is_empty()
            || subscriber.is_barred_by_marks()
            || subscriber.away.is_some()
            || Instant::now() >= end;
        if is_done {
            let missing = std::mem::take(&mut judgement.missing);
            judgement.wrong.extend(missing);
            subscriber.views = views;
            subscriber.debt = subscriber.away.is_some().then(|| judgement.debt.clone());
            let last = subscriber.segments.last();
            subscriber.trails = last.is_some_and(|last| last.begins && last.since.is_none());
            subscriber.segments.clear();
            return judgement;
        }
        sleep(Duration::from_millis(30)).await;
    }
}

/// What has become of the snapshots, beside the tables.
async fn look(
    phase: &Phase<'_>,
    subscriber: &Subscriber,
    judgement: &mut Judgement,
) -> HashMap<String, View> {
    let mut views = subscriber.views.clone();
    for wanted in subscriber.wanted.iter().filter(|wanted| wanted.snapshot) {
        let view = views.entry(wanted.name.clone()).or_default();
        for segment in &subscriber.segments {
            if segment.begins {
                *view = View::default();
            }
            let heard = segment.heard.iter();
            for heard in heard.filter(|heard| heard.name == wanted.name) {
                judgement.wrong.extend(view.take(heard).err());
            }
        }
        if subscriber.away.is_none() {
            let table = phase.table(subscriber.who, wanted).await;
            judgement.missing.extend(view.lacks(wanted, &table));
        }
    }
    views
}

/// What is wrong with one client, for people.
pub fn report(at: usize, number: i64, subscriber: &Subscriber, judgement: Judgement) -> String {
    format!(
        "subscriber {at}, {:?}, {:?}, phase {number}, wants\n{}\nheard\n{}\n{}",
        subscriber.who,
        subscriber.manner,
        names(&subscriber.wanted),
        judgement.course.join("\n"),
        short(judgement.wrong).join("\n")
    )
}

/// What a subscriber asked for, a line each.
fn names(wanted: &[Wanted]) -> String {
    let line = |wanted: &Wanted| {
        let Wanted {
            name,
            filter,
            fields,
            leave,
            snapshot,
            ..
        } = wanted;
        let filter = filter.map(|filter| filter.text);
        format!("  {name} filter {filter:?} fields {fields:?} leave {leave} snapshot {snapshot}")
    };
    let lines: Vec<_> = wanted.iter().map(line).collect();
    lines.join("\n")
}

/// The first of many complaints.
fn short(mut wrong: Vec<String>) -> Vec<String> {
    let more = wrong.len().saturating_sub(6);
    wrong.truncate(6);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    wrong
}
