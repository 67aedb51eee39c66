//! What both ends of a mailbox share: the frames that wait, and who may hand them to the client.
//!
//! At any time one holds it, and only the holder takes frames out and writes to the client: so they keep
//! their order, and no two write at once.
//!
//! - *Nobody*: nothing waits. Whoever puts a frame in becomes, or names, the courier.
//! - *A courier* writes what waits to the outlet, until nothing does. It never waits for the client: what
//!   is not taken at once is the task's business.
//! - *The stream's task*: it has something of its own to write, or waits until the client takes more, or there is no
//!   outlet. It lets go when it has nothing to do but to wait for frames. What a courier left half-written it writes
//!   before it takes anything out.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::time::Instant;

use super::outlet::{Outlet, Written};
use super::slot::Refused;
use crate::frame::{Frame, gather};

/// Chunks that a courier writes for one client before it sees to the next.
const CHUNKS_MAX: usize = 8;

/// An empty queue keeps room for so many frames.
const FRAMES_KEPT: usize = 16;

pub(super) struct Desk {
    frames_max: usize,
    state: Mutex<State>,
}

struct State {
    frames: VecDeque<Frame>,
    holder: Holder,
    outlet: Option<Arc<dyn Outlet>>,
    /// The stream's task, while it waits.
    task: Option<Waker>,
    /// The task waits for the courier to be done.
    is_wanted: bool,
    /// The hub's ends.
    slots: usize,
    /// The mailbox was dropped.
    is_left: bool,
    /// Nobody knows what the client has received, so the stream ends.
    is_cut: bool,
    sent: u64,
    taken: u64,
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Nobody,
    Courier,
    /// The task, before it does anything else with what the outlet could not write.
    Rest,
    Task,
}

/// When couriers wrote last; `None` if they have not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    /// An event.
    pub event_at: Option<Instant>,
    /// Anything.
    pub at: Option<Instant>,
}

impl Desk {
    /// The task holds it first: it has something to say before all frames.
    pub(super) fn new(frames_max: usize) -> Self {
        Self {
            frames_max,
            state: Mutex::new(State {
                frames: VecDeque::new(),
                holder: Holder::Task,
                outlet: None,
                task: None,
                is_wanted: false,
                slots: 0,
                is_left: false,
                is_cut: false,
                sent: 0,
                taken: 0,
                told: Told::default(),
            }),
        }
    }

    /// Puts a frame in; returns whether the caller is the courier now.
    pub(super) fn put(&self, frame: Frame) -> Result<bool, Refused> {
        let mut state = self.lock();
        if state.is_left || state.is_cut {
            return Err(Refused::Closed);
        }
        if state.frames.len() >= self.frames_max {
            return Err(Refused::Full(frame));
        }
        state.frames.push_back(frame);
        state.sent += 1;
        match state.holder {
            Holder::Courier => Ok(false),
            Holder::Nobody if state.has_chunk() => {
                state.holder = Holder::Courier;
                Ok(true)
            }
            Holder::Rest => Ok(false),
            Holder::Nobody | Holder::Task => {
                wake_task(state);
                Ok(false)
            }
        }
    }

    /// The next frame for the task, which holds the desk from then on, or lets go of it if there is none.
    pub(super) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        let mut state = self.lock();
        if state.is_free() {
            state.holder = Holder::Task;
            if let Some(frame) = state.take() {
                return Poll::Ready(Some(frame));
            }
            if state.slots == 0 || state.is_cut {
                return Poll::Ready(None);
            }
            state.holder = Holder::Nobody;
        }
        state.wait(context);
        Poll::Pending
    }

    /// The next frame, for a task that has taken one and not written it yet.
    pub(super) fn take_another(&self) -> Option<Frame> {
        let mut state = self.lock();
        debug_assert_eq!(state.holder, Holder::Task);
        state.take()
    }

    /// Ready once the task holds the desk, so that it may write something of its own.
    pub(super) fn poll_hold(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.is_free() {
            state.holder = Holder::Task;
            state.is_wanted = false;
            return Poll::Ready(());
        }
        state.is_wanted = true;
        state.wait(context);
        Poll::Pending
    }

    /// Whether the task is to write what the outlet has left.
    pub(super) fn has_rest(&self) -> bool {
        self.lock().holder == Holder::Rest
    }

    /// That was written.
    pub(super) fn rest_is_written(&self) {
        let mut state = self.lock();
        debug_assert_eq!(state.holder, Holder::Rest);
        state.holder = Holder::Task;
    }

    /// For the courier: writes what waits, as far as the client takes it at once.
    pub(super) fn carry(&self, now: Instant) {
        for _ in 0..CHUNKS_MAX {
            let Some((outlet, chunk)) = self.take_chunk(now) else {
                return;
            };
            if outlet.write(chunk) == Written::InPart {
                return self.pass_on_to(Holder::Rest);
            }
        }
        self.pass_on();
    }

    /// What the courier is to write next; if there is nothing, it no longer is the courier.
    fn take_chunk(&self, now: Instant) -> Option<(Arc<dyn Outlet>, Bytes)> {
        let mut state = self.lock();
        if !state.is_wanted && state.has_chunk() {
            let outlet = state.outlet.clone()?;
            let first = state.take()?;
            let next = || state.has_chunk().then(|| state.take()).flatten();
            let (chunk, has_events) = gather(first, next);
            state.told.at = Some(now);
            if has_events {
                state.told.event_at = Some(now);
            }
            return Some((outlet, chunk));
        }
        if state.is_wanted || !state.frames.is_empty() || state.slots == 0 {
            drop(state);
            self.pass_on();
        } else {
            state.holder = Holder::Nobody;
        }
        None
    }

    /// For the courier: leaves the rest to the stream's task.
    pub(super) fn pass_on(&self) {
        self.pass_on_to(Holder::Task);
    }

    /// For the courier, when the outlet has failed: the stream ends, and its client may come back for the rest.
    pub(super) fn cut(&self) {
        let mut state = self.lock();
        state.is_cut = true;
        let frames = std::mem::take(&mut state.frames);
        drop(state);
        drop(frames);
        self.pass_on();
    }

    fn pass_on_to(&self, holder: Holder) {
        let mut state = self.lock();
        state.holder = holder;
        state.is_wanted = false;
        wake_task(state);
    }

    pub(super) fn set_outlet(&self, outlet: Arc<dyn Outlet>) {
        let mut state = self.lock();
        if !state.is_left {
            state.outlet = Some(outlet);
        }
    }

    pub(super) fn add_slot(&self) {
        self.lock().slots += 1;
    }

    pub(super) fn remove_slot(&self) {
        let mut state = self.lock();
        state.slots -= 1;
        if state.slots == 0 {
            wake_task(state);
        }
    }

    /// The mailbox is gone: nothing can be put in any more.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.is_left = true;
        let left = (
            std::mem::take(&mut state.frames),
            state.outlet.take(),
            state.task.take(),
        );
        // What they own may be much.
        drop(state);
        drop(left);
    }

    pub(super) fn is_left(&self) -> bool {
        self.lock().is_left
    }

    pub(super) fn frames_max(&self) -> usize {
        self.frames_max
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().frames.len()
    }

    pub(super) fn sent_and_taken(&self) -> (u64, u64) {
        let state = self.lock();
        (state.sent, state.taken)
    }

    pub(super) fn told(&self) -> Told {
        self.lock().told
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing below panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.taken += 1;
        if self.frames.is_empty() && self.frames.capacity() > FRAMES_KEPT {
            self.frames = VecDeque::new();
        }
        Some(frame)
    }

    /// Whether the task may have it.
    fn is_free(&self) -> bool {
        matches!(self.holder, Holder::Nobody | Holder::Task)
    }

    /// Whether a courier can write what waits first.
    fn has_chunk(&self) -> bool {
        self.outlet.is_some() && self.frames.front().is_some_and(Frame::is_ready)
    }

    fn wait(&mut self, context: &mut Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(context.waker()),
            None => self.task = Some(context.waker().clone()),
        }
    }
}

/// Wakes the stream's task, if it waits, without the lock: it may run at once.
fn wake_task(mut state: MutexGuard<'_, State>) {
    let task = state.task.take();
    drop(state);
    if let Some(task) = task {
        task.wake();
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Desk")
            .field("waiting", &state.frames.len())
            .field("holder", &state.holder)
            .finish_non_exhaustive()
    }
}
