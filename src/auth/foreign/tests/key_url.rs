//! When a key set is fetched, and what holds meanwhile; the clock stands still.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use http::{HeaderValue, StatusCode};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{advance, timeout};

use super::super::fetch::{Answer, FetchError, Source};
use super::super::key_url::KeyUrl;
use super::*;

/// An issuer that says what it is told to, and counts who asks.
#[derive(Clone, Default)]
struct Issuer(Arc<Inside>);

#[derive(Default)]
struct Inside {
    answers: Mutex<VecDeque<Said>>,
    /// The tags it was asked with.
    asked: Mutex<Vec<Option<HeaderValue>>>,
    /// Rings for each answer that is given.
    given: Notify,
}

enum Said {
    Keys(Value, Option<u64>),
    Unchanged,
    Nonsense,
    Down,
}

impl Issuer {
    fn will_say(&self, said: Said) {
        self.0.answers.lock().expect("unharmed").push_back(said);
    }

    fn asked(&self) -> usize {
        self.0.asked.lock().expect("unharmed").len()
    }

    fn last_tag(&self) -> Option<HeaderValue> {
        let asked = self.0.asked.lock().expect("unharmed");
        asked.last().cloned().flatten()
    }
}

impl Source for Issuer {
    async fn get(&mut self, etag: Option<HeaderValue>) -> Result<Answer, FetchError> {
        self.0.asked.lock().expect("unharmed").push(etag);
        let said = self.0.answers.lock().expect("unharmed").pop_front();
        self.0.given.notify_one();
        let answer = |body: Option<Value>, max_age: Option<u64>| Answer {
            body: body.map(|body| body.to_string().into()),
            etag: Some(HeaderValue::from_static("\"tag\"")),
            max_age: max_age.map(Duration::from_secs),
        };
        match said {
            Some(Said::Keys(keys, max_age)) => Ok(answer(Some(json!({ "keys": keys })), max_age)),
            Some(Said::Unchanged) => Ok(answer(None, None)),
            Some(Said::Nonsense) => Ok(answer(Some(json!("nonsense")), None)),
            Some(Said::Down) | None => Err(FetchError::Status(StatusCode::BAD_GATEWAY)),
        }
    }
}

/// Keys behind a URL, with a keeper at work.
struct Site {
    issuer: Issuer,
    keys: KeyUrl,
    metrics: Metrics,
    _keeper: Keeping,
}

struct Keeping(JoinHandle<()>);

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Site {
    fn open(first: Said) -> Self {
        let (issuer, metrics) = (Issuer::default(), Metrics::new());
        issuer.will_say(first);
        let options = ForeignOptions::default();
        let keys = KeyUrl::new("https://issuer.example/keys", &options).expect("a good URL");
        let keeper = keys.keeper(metrics.clone());
        Self {
            _keeper: Keeping(tokio::spawn(keeper.keep(issuer.clone()))),
            issuer,
            keys,
            metrics,
        }
    }

    async fn knows(&self, kid: &str) -> bool {
        self.keys.find(Some(kid)).await.is_some()
    }

    /// Lets this time pass and everybody do what they have to do then.
    async fn pass(&self, time: Duration) {
        advance(time).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn counted(&self, outcome: &str, count: u64) {
        let line = format!("key_set_fetches_total{{reason=\"{outcome}\"}} {count}");
        let all = self.metrics.encode();
        assert!(all.contains(&line), "no {line} in {all}");
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_token_right_after_the_start_waits_for_the_first_answer() {
    let site = Site::open(Said::Keys(json!([ed25519("one").jwk]), None));
    assert!(site.knows("one").await);
    assert_eq!(site.issuer.asked(), 1);
    site.counted("new", 1);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_at_the_start_is_asked_until_it_answers() {
    let site = Site::open(Said::Down);
    assert!(!site.knows("one").await, "refused, and not for long");
    site.issuer.will_say(Said::Down);
    site.issuer.will_say(Said::Nonsense);
    site.issuer
        .will_say(Said::Keys(json!([ed25519("one").jwk]), None));
    for pause in [1, 2, 4] {
        site.pass(SECOND * pause).await;
    }
    assert_eq!(site.issuer.asked(), 4);
    assert!(site.knows("one").await);
    site.counted("failed", 3);
    site.counted("new", 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_asked_for_once_in_a_while() {
    let (one, two) = (ed25519("one").jwk, ed25519("two").jwk);
    let site = Site::open(Said::Keys(json!([one]), None));
    assert!(site.knows("one").await);
    site.issuer
        .will_say(Said::Keys(json!([one, two]), Some(3600)));
    assert!(!site.knows("two").await, "it was asked just now");
    assert_eq!(site.issuer.asked(), 1);
    site.pass(SECOND * 30).await;
    let (first, second) = tokio::join!(site.knows("two"), site.knows("two"));
    assert!(first && second, "rotated in");
    for _ in 0..100 {
        assert!(!site.knows("three").await);
    }
    assert_eq!(site.issuer.asked(), 2, "one asks for all");
    site.pass(SECOND * 30).await;
    assert!(!site.knows("three").await, "the issuer is down now");
    assert!(site.knows("one").await && site.knows("two").await);
    assert_eq!(site.issuer.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn keys_are_renewed_in_time_and_kept_while_the_issuer_is_down() {
    let (one, two) = (ed25519("one").jwk, ed25519("two").jwk);
    let site = Site::open(Said::Keys(json!([one]), None));
    assert!(site.knows("one").await);
    site.issuer.will_say(Said::Unchanged);
    site.pass(MINUTE * 10).await;
    assert_eq!(site.issuer.asked(), 2, "ten minutes where nothing is said");
    assert!(site.issuer.last_tag().is_some(), "only if it has changed");
    site.counted("unchanged", 1);
    for _ in 0..5 {
        site.pass(MINUTE * 10).await;
    }
    assert!(site.knows("one").await, "better than nothing");
    site.issuer.will_say(Said::Keys(json!([two]), Some(1)));
    site.pass(MINUTE).await;
    assert!(!site.knows("one").await, "rotated out");
    assert!(site.knows("two").await);
}

#[tokio::test(start_paused = true)]
async fn what_the_issuer_says_of_their_age_holds_within_bounds() {
    for (said, early, late) in [
        (0, SECOND * 53, SECOND * 8),
        (120, SECOND * 107, SECOND * 14),
        (1_000_000, MINUTE * 53, MINUTE * 8),
    ] {
        let one = json!([ed25519("one").jwk]);
        let site = Site::open(Said::Keys(one, Some(said)));
        assert!(site.knows("one").await);
        site.pass(early).await;
        assert_eq!(site.issuer.asked(), 1, "max-age={said}");
        site.issuer.will_say(Said::Unchanged);
        site.pass(late).await;
        assert_eq!(site.issuer.asked(), 2, "max-age={said}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_keeper_a_token_is_refused_and_does_not_wait_for_ever() {
    let options = ForeignOptions {
        jwks_url: Some("https://issuer.example/keys".to_owned()),
        ..ForeignOptions::default()
    };
    let tokens = tokens(options);
    let token = by_pair(&ed25519("one"), Some("one"));
    let checked = timeout(MINUTE, tokens.check(&token)).await;
    assert!(checked.expect("in time").is_none());
}
