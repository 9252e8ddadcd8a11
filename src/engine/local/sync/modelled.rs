//! What `sync.rs` hands out in a model: the same names over shuttle, where the schedule also decides about time.
//!
//! - A wait with a limit of a millisecond or more either ends at once by time-out or blocks for good: a commit that
//!   only a long timer rescues counts as hanging.
//! - A shorter one never blocks, since its end by time-out is part of the plan: it comes back after others ran.
//! - A [`Stopwatch`] shows nothing or an hour, so that each "long enough?" is answered both ways.
//! - `park` may return without cause, as the real one may.
//!
//! Limits of the models: every atomic operation is sequentially consistent, whatever ordering it names.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Duration;

use shuttle::rand::RngCore;

pub use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize};
pub use shuttle::thread_local;

/// Waits with a limit below this come back for sure.
const SHORT: Duration = Duration::from_millis(1);

/// A number below `bound` that belongs to the schedule: a replay draws it again.
pub fn pick(bound: u64) -> u64 {
    shuttle::rand::thread_rng().next_u64() % bound
}

fn one_in(sides: u64) -> bool {
    pick(sides) == 0
}

/// A call that a sabotaged model drops now and then: what proves that the models would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    NotifyOne,
    Unpark,
}

std::thread_local! {
    /// One test, one thread of the operating system: all threads of a model run on it.
    static SABOTAGE: Cell<Option<Lost>> = const { Cell::new(None) };
}

/// From here on, one in four such calls of this test's models is lost.
pub fn lose(call: Lost) {
    SABOTAGE.set(Some(call));
}

fn is_lost(call: Lost) -> bool {
    SABOTAGE.get() == Some(call) && one_in(4)
}

/// As `parking_lot::Mutex`.
#[derive(Debug, Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

pub struct MutexGuard<'m, T> {
    mutex: &'m Mutex<T>,
    /// `None` only while a condition variable has it.
    inner: Option<shuttle::sync::MutexGuard<'m, T>>,
}

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, inner: Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)) }
    }

    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        Some(MutexGuard { mutex: self, inner: Some(self.0.try_lock().ok()?) })
    }

    pub fn try_lock_for(&self, _limit: Duration) -> Option<MutexGuard<'_, T>> {
        if one_in(2) {
            return Some(self.lock());
        }
        self.try_lock()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_ref().expect("a guard is whole outside of a wait")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("a guard is whole outside of a wait")
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// As `parking_lot::RwLock`.
#[derive(Debug, Default)]
pub struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub fn new(value: T) -> Self {
        RwLock(shuttle::sync::RwLock::new(value))
    }

    pub fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As `parking_lot::Condvar`.
#[derive(Debug, Default)]
pub struct Condvar(shuttle::sync::Condvar);

pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub fn new() -> Self {
        Condvar::default()
    }

    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let inner = guard.inner.take().expect("a guard is whole before a wait");
        guard.inner = Some(self.0.wait(inner).unwrap_or_else(PoisonError::into_inner));
    }

    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, limit: Duration) -> WaitTimeoutResult {
        if limit >= SHORT && one_in(2) {
            self.wait(guard);
            return WaitTimeoutResult(false);
        }
        drop(guard.inner.take());
        shuttle::thread::yield_now();
        let mutex = guard.mutex;
        guard.inner = mutex.lock().inner;
        WaitTimeoutResult(limit >= SHORT || one_in(2))
    }

    pub fn notify_one(&self) {
        if !is_lost(Lost::NotifyOne) {
            self.0.notify_one();
        }
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// As `clock::Stopwatch`, for time that passes as the schedule pleases.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch;

impl Stopwatch {
    pub fn start() -> Self {
        Stopwatch
    }

    pub fn elapsed(&self) -> Duration {
        if one_in(2) { Duration::ZERO } else { Duration::from_secs(3_600) }
    }
}

/// As `std::thread`.
pub mod thread {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::{Lost, is_lost, one_in};

    pub use shuttle::thread::{Result, yield_now};

    #[derive(Debug, Clone)]
    pub struct Thread(shuttle::thread::Thread);

    impl Thread {
        pub fn unpark(&self) {
            if !is_lost(Lost::Unpark) {
                self.0.unpark();
            }
        }
    }

    pub fn current() -> Thread {
        Thread(shuttle::thread::current())
    }

    pub fn park() {
        if one_in(8) {
            return yield_now();
        }
        shuttle::thread::park();
    }

    pub fn park_timeout(_limit: Duration) {
        yield_now();
    }

    #[derive(Debug, Default)]
    pub struct Builder(shuttle::thread::Builder);

    #[derive(Debug)]
    pub struct JoinHandle<T> {
        inner: shuttle::thread::JoinHandle<T>,
        finished: Arc<AtomicBool>,
    }

    /// Tells that a thread ended, in a panic too.
    struct Finished(Arc<AtomicBool>);

    impl Drop for Finished {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    impl Builder {
        pub fn new() -> Self {
            Builder::default()
        }

        pub fn name(self, name: String) -> Self {
            Builder(self.0.name(name))
        }

        pub fn spawn<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
            let finished = Arc::new(AtomicBool::new(false));
            let ending = Finished(Arc::clone(&finished));
            let inner = self.0.spawn(move || {
                let _ending = ending;
                f()
            })?;
            Ok(JoinHandle { inner, finished })
        }
    }

    impl<T> JoinHandle<T> {
        pub fn is_finished(&self) -> bool {
            self.finished.load(Ordering::SeqCst)
        }

        pub fn join(self) -> Result<T> {
            self.inner.join()
        }
    }
}

/// As `crossbeam::channel`, for a receiver that outlives every sender's last message.
pub mod channel {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Condvar, Mutex};

    pub use crossbeam::channel::{RecvError, RecvTimeoutError, SendError};

    #[derive(Debug)]
    struct Queue<T> {
        messages: Mutex<VecDeque<T>>,
        sent: Condvar,
    }

    #[derive(Debug, Clone)]
    pub struct Sender<T>(Arc<Queue<T>>);

    #[derive(Debug)]
    pub struct Receiver<T>(Arc<Queue<T>>);

    pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        let queue = Arc::new(Queue { messages: Mutex::default(), sent: Condvar::new() });
        (Sender(Arc::clone(&queue)), Receiver(queue))
    }

    impl<T> Sender<T> {
        pub fn send(&self, message: T) -> Result<(), SendError<T>> {
            self.0.messages.lock().push_back(message);
            self.0.sent.notify_one();
            Ok(())
        }
    }

    impl<T> Receiver<T> {
        pub fn recv(&self) -> Result<T, RecvError> {
            let mut messages = self.0.messages.lock();
            loop {
                match messages.pop_front() {
                    Some(message) => return Ok(message),
                    None => self.0.sent.wait(&mut messages),
                }
            }
        }

        pub fn recv_timeout(&self, limit: Duration) -> Result<T, RecvTimeoutError> {
            let mut messages = self.0.messages.lock();
            if messages.is_empty() {
                self.0.sent.wait_for(&mut messages, limit);
            }
            messages.pop_front().ok_or(RecvTimeoutError::Timeout)
        }
    }
}
