//! Who hands frames out, and that they keep their order whoever does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Wake, Waker};

use bytes::Bytes;
use rand::RngExt;
use tokio::time::{Instant, sleep};

use super::*;

/// What a client has received, and how often it was not ready for more.
#[derive(Default)]
struct Client {
    heard: Mutex<Vec<u8>>,
    rest: Mutex<Option<Bytes>>,
    is_busy: AtomicBool,
    /// Of a hundred chunks so many are not taken whole.
    stubborn: usize,
    left: AtomicUsize,
}

impl Client {
    fn stubborn(stubborn: usize) -> Arc<Self> {
        Arc::new(Self {
            stubborn,
            ..Self::default()
        })
    }

    fn hear(&self, bytes: &[u8]) {
        assert!(
            !self.is_busy.swap(true, Ordering::SeqCst),
            "two write at once"
        );
        lock(&self.heard).extend_from_slice(bytes);
        self.is_busy.store(false, Ordering::SeqCst);
    }

    fn heard(&self) -> String {
        String::from_utf8(lock(&self.heard).clone()).expect("ASCII")
    }
}

impl Outlet for Client {
    fn write(&self, mut chunk: Bytes) -> Written {
        if rand::rng().random_range(0..100) >= self.stubborn {
            self.hear(&chunk);
            return Written::Whole;
        }
        self.hear(&chunk.split_to(chunk.len() / 2));
        let before = lock(&self.rest).replace(chunk);
        assert!(before.is_none(), "a rest was not written");
        self.left.fetch_add(1, Ordering::SeqCst);
        Written::InPart
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state
        .lock()
        .expect("no test panics while it holds the lock")
}

/// A stream's task: writes what is left for it, what it receives, and now and then something of its own.
async fn attend(mut mailbox: Mailbox, client: Arc<Client>) -> usize {
    let forwarding = mailbox.forwarding();
    forwarding.to(Arc::<Client>::clone(&client));
    let mut beats = 0;
    loop {
        let wants_to_beat = rand::rng().random_range(0..4) == 0;
        let said = std::future::poll_fn(|context| {
            if let Poll::Ready(frame) = mailbox.poll_recv(context) {
                return Poll::Ready(Said::Frame(frame));
            }
            if forwarding.has_rest() {
                return Poll::Ready(Said::Rest);
            }
            match wants_to_beat {
                true => mailbox.poll_hold(context).map(|()| Said::Beat),
                false => Poll::Pending,
            }
        });
        match said.await {
            Said::Frame(None) => return beats,
            Said::Frame(Some(frame)) => {
                client.hear(&frame.into_bytes());
                if let Some(frame) = mailbox.try_recv() {
                    client.hear(&frame.into_bytes());
                }
            }
            Said::Rest => {
                let rest = lock(&client.rest).take().expect("a rest");
                client.hear(&rest);
                forwarding.rest_is_written();
            }
            Said::Beat => {
                beats += 1;
                client.hear(&Frame::heartbeat().into_bytes());
                tokio::task::yield_now().await;
            }
        }
    }
}

enum Said {
    Frame(Option<Frame>),
    Rest,
    Beat,
}

fn frame(number: usize) -> Frame {
    Frame::event(None, "n", number.to_string().as_bytes()).expect("a clean frame")
}

fn written(number: usize) -> String {
    format!("event:n\ndata:{number}\n\n")
}

fn pair(frames_max: usize) -> (Mailbox, Slot) {
    let departures = mpsc::unbounded_channel().0;
    Mailbox::new(ClientId::random(), frames_max, departures)
}

/// Counts how often a task was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn frames_keep_their_order_whoever_hands_them_out() {
    const FRAMES: usize = 20_000;
    for stubborn in [0, 5, 100] {
        let streams: Vec<_> = (0..12)
            .map(|_| {
                let (mailbox, slot) = pair(FRAMES);
                let client = Client::stubborn(stubborn);
                let task = tokio::spawn(attend(mailbox, Arc::clone(&client)));
                (slot, client, task)
            })
            .collect();
        let mut rounds = Rounds::default();
        for number in 0..FRAMES {
            for (slot, ..) in &streams {
                if let Some(errand) = slot.put(frame(number)).expect("room") {
                    rounds.add(errand);
                }
            }
            rounds.set_out();
            if number % 50 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let expected: String = (0..FRAMES).map(written).collect();
        for (slot, client, task) in streams {
            assert_eq!(slot.sent_and_taken().0, FRAMES as u64);
            drop(slot);
            let ended = tokio::time::timeout(std::time::Duration::from_secs(60), task).await;
            let beats = ended.expect("the stream ends").expect("without panic");
            let heard = client.heard();
            let heartbeat = String::from_utf8(Frame::heartbeat().into_bytes().to_vec());
            let heartbeat = heartbeat.expect("ASCII");
            // A beat between two halves would be in the midst of a line.
            let events: String = heard
                .split_inclusive("\n\n")
                .filter(|part| *part != heartbeat)
                .collect();
            assert!(
                events == expected,
                "{stubborn}: {beats} beats, {} left, {heard:.300}",
                client.left.load(Ordering::SeqCst)
            );
        }
    }
}

#[tokio::test]
async fn a_stream_is_not_woken_for_what_is_taken_at_once() {
    let (mut mailbox, slot) = pair(8);
    let client = Client::stubborn(0);
    mailbox.forwarding().to(Arc::<Client>::clone(&client));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    // Until the stream waits for frames for the first time, it has something to say before them.
    assert!(slot.put(frame(0)).expect("room").is_none());
    assert_eq!(mailbox.poll_recv(&mut context), Poll::Ready(Some(frame(0))));
    assert!(mailbox.poll_recv(&mut context).is_pending());
    let before = mailbox.told();
    assert!(before.at.is_none() && before.event_at.is_none());
    for number in 1..=100 {
        let errand = slot.put(frame(number)).expect("room");
        errand.expect("it is for us").run(Instant::now());
    }
    let expected: String = (1..=100).map(written).collect();
    assert_eq!(client.heard(), expected);
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    assert_eq!(slot.sent_and_taken(), (101, 101));
    assert!(mailbox.told().event_at.is_some());
    drop(slot);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert_eq!(mailbox.poll_recv(&mut context), Poll::Ready(None));
}

#[tokio::test]
async fn what_waits_is_carried_together_and_a_mark_is_no_event() {
    let (mut mailbox, slot) = pair(8);
    let client = Client::stubborn(0);
    mailbox.forwarding().to(Arc::<Client>::clone(&client));
    let mut context = Context::from_waker(Waker::noop());
    assert!(mailbox.poll_recv(&mut context).is_pending());
    let mark = || Frame::mark("7").expect("a clean mark");
    slot.put(mark())
        .expect("room")
        .expect("for us")
        .run(Instant::now());
    assert!(mailbox.told().at.is_some() && mailbox.told().event_at.is_none());
    let errand = slot.put(mark()).expect("room").expect("for us");
    assert!(slot.put(frame(1)).expect("room").is_none());
    assert_eq!(slot.waiting(), 2);
    errand.run(Instant::now());
    assert_eq!(client.heard(), format!("id:7\n\nid:7\n\n{}", written(1)));
    assert!(mailbox.told().event_at.is_some());
}

#[tokio::test]
async fn an_errand_that_nobody_runs_is_left_to_the_stream() {
    let (mut mailbox, slot) = pair(8);
    mailbox.forwarding().to(Client::stubborn(0));
    let mut context = Context::from_waker(Waker::noop());
    assert!(mailbox.poll_recv(&mut context).is_pending());
    drop(slot.put(frame(1)).expect("room"));
    assert_eq!(mailbox.recv().await, Some(frame(1)));
}

#[tokio::test]
async fn a_full_mailbox_refuses_and_so_does_one_whose_stream_has_ended() {
    let (mailbox, slot) = pair(2);
    assert!(slot.put(frame(1)).is_ok() && slot.put(frame(2)).is_ok());
    assert!(matches!(slot.put(frame(3)), Err(Refused::Full(refused)) if refused == frame(3)));
    assert_eq!((slot.waiting(), slot.room_max()), (2, 2));
    drop(mailbox);
    assert!(slot.is_closed());
    assert!(matches!(slot.put(frame(4)), Err(Refused::Closed)));
    assert_eq!(slot.sent_and_taken(), (2, 0));
}

#[tokio::test]
async fn a_mailbox_ends_when_the_last_slot_is_dropped_and_all_was_taken() {
    let (mut mailbox, slot) = pair(2);
    let other = slot.clone();
    assert!(slot.put(frame(1)).is_ok());
    drop(slot);
    assert_eq!(mailbox.recv().await, Some(frame(1)));
    let dropped = async {
        sleep(std::time::Duration::from_millis(1)).await;
        drop(other);
    };
    let (frame, ()) = tokio::join!(mailbox.recv(), dropped);
    assert_eq!(frame, None);
}

/// Panics, always.
struct Broken;

impl Outlet for Broken {
    fn write(&self, _: Bytes) -> Written {
        panic!("an outlet that is broken, as this test wants it");
    }
}

#[tokio::test]
async fn an_outlet_that_panics_ends_its_own_stream_and_harms_no_other() {
    const FRAMES: usize = 3;
    let client = Client::stubborn(0);
    let mut streams: Vec<_> = (0..200).map(|_| pair(8)).collect();
    let is_broken = |at: usize| at % 50 == 7;
    let mut context = Context::from_waker(Waker::noop());
    for (at, (mailbox, _)) in streams.iter_mut().enumerate() {
        match is_broken(at) {
            true => mailbox.forwarding().to(Arc::new(Broken)),
            false => mailbox.forwarding().to(Arc::<Client>::clone(&client)),
        }
        assert!(mailbox.poll_recv(&mut context).is_pending());
    }
    let mut rounds = Rounds::default();
    for number in 0..FRAMES {
        for (at, (_, slot)) in streams.iter().enumerate() {
            match slot.put(frame(number)) {
                Ok(errand) => errand.into_iter().for_each(|errand| rounds.add(errand)),
                Err(refused) => assert!(is_broken(at), "{refused:?}"),
            }
        }
        rounds.set_out();
        for (at, (mailbox, slot)) in streams.iter_mut().enumerate() {
            if is_broken(at) {
                assert_eq!(mailbox.recv().await, None);
                continue;
            }
            let carried = async {
                while slot.waiting() > 0 || mailbox.poll_recv(&mut context).is_ready() {
                    tokio::task::yield_now().await;
                }
            };
            let carried = tokio::time::timeout(std::time::Duration::from_secs(20), carried);
            carried.await.expect("couriers go on");
        }
    }
    let expected = 196
        * (0..FRAMES)
            .map(|number| written(number).len())
            .sum::<usize>();
    assert_eq!(client.heard().len(), expected);
}
