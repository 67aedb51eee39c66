//! One private server: its folder, its settings, and its starts and ends.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::account::Account;
use super::binaries::Binaries;
use super::guard::{Guard, Order};
use super::place::{Place, make_home, preparing};

/// The port in the socket's name when there is no TCP; nobody else uses the folder.
const SOCKET_PORT: u16 = 5432;
const PORT_ATTEMPTS: u32 = 3;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// How to run a private server.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The programs to run.
    pub binaries: Binaries,
    /// Whether it listens on TCP beside its socket.
    pub tcp: Tcp,
    /// Whether commits survive a crash of the machine.
    pub fsync: bool,
    /// Where the data is.
    pub storage: Storage,
    /// Server settings, such as `("max_connections", "50")`, which win over our own.
    pub settings: Vec<(String, String)>,
    /// How long it may take to be ready.
    pub ready_within: Duration,
}

/// Whether a private server listens on TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tcp {
    /// Its socket is the only way in.
    Off,
    /// On a free loopback port.
    Free,
    /// On this loopback port.
    Port(u16),
}

/// Where a private server's data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In a folder that is deleted at the end.
    Temporary,
    /// In this folder, made if missing, and kept.
    Kept(PathBuf),
}

impl ClusterOptions {
    /// A temporary server, reachable by its socket only, that does not wait for the disk.
    pub fn new(binaries: Binaries) -> Self {
        Self {
            binaries,
            tcp: Tcp::Off,
            fsync: false,
            storage: Storage::Temporary,
            settings: Vec::new(),
            ready_within: Duration::from_secs(60),
        }
    }
}

/// A private server could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// We are root, and nobody else may run the server.
    #[error(
        "Postgres refuses to run as root, and neither `postgres` nor `nobody` is an account here; run as an ordinary user"
    )]
    NoAccount,
    /// A folder or file could not be prepared.
    #[error("could not prepare {path:?}")]
    Prepare {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder to keep the data in has something else in it.
    #[error("{0:?} is not empty and not a folder of ours; name a new or an empty one")]
    Foreign(PathBuf),
    /// Another process uses the folder.
    #[error("another private Postgres is using {0:?}; stop it, or name another folder")]
    InUse(PathBuf),
    /// The guard could not be started or does not answer.
    #[error("lost the guard process of the private Postgres")]
    Guard(#[source] io::Error),
    /// `initdb` failed.
    #[error("initdb failed; it said:\n{log}")]
    Init {
        /// The end of its output.
        log: String,
    },
    /// The server ended while it should have started.
    #[error("the private Postgres ended instead of starting; its log ends with:\n{log}")]
    Ended {
        /// The end of its log.
        log: String,
    },
    /// The server is not ready in time.
    #[error("the private Postgres was not ready within {waited:?}; its log ends with:\n{log}")]
    NotReady {
        /// The time allowed.
        waited: Duration,
        /// The end of its log.
        log: String,
    },
}

/// A running private server; it and its temporary files end when this is dropped or our process
/// ends, whatever way that happens.
#[derive(Debug)]
pub struct Cluster {
    guard: Mutex<Guard>,
    /// Socket, log and, unless kept elsewhere, the data. Short, because socket paths must be.
    home: PathBuf,
    data: PathBuf,
    /// Of TCP, and in any case part of the socket's name.
    port: u16,
    has_tcp: bool,
    password: String,
    ready_within: Duration,
}

impl Cluster {
    /// Starts a server and waits until it accepts connections. Blocks for about half a second.
    ///
    /// # Errors
    /// If a folder cannot be used or the server does not come up; nothing is left behind then.
    pub fn start(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let mut attempts = PORT_ATTEMPTS;
        loop {
            attempts -= 1;
            match Self::start_once(options) {
                // Somebody else took the free port between our look and the server's.
                Err(ClusterError::Ended { log })
                    if options.tcp == Tcp::Free
                        && attempts > 0
                        && log.contains("could not bind") => {}
                outcome => return outcome,
            }
        }
    }

    fn start_once(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let account = Account::choose()
            .map_err(preparing(Path::new("/etc/passwd")))?
            .ok_or(ClusterError::NoAccount)?;
        let port = choose_port(options.tcp)?;
        let home = make_home(account)?;
        let place = Place::prepare(&options.storage, home.path(), account)?;
        let guard = Guard::spawn(
            account,
            [options.binaries.directory(), &place.data, home.path()],
            place.farewell,
            &arguments(options, home.path(), port),
            place.lock,
        )
        .map_err(ClusterError::Guard)?;
        let cluster = Self {
            guard: Mutex::new(guard),
            // From here on the guard deletes it.
            home: home.keep(),
            data: place.data,
            port,
            has_tcp: options.tcp != Tcp::Off,
            password: place.password,
            ready_within: options.ready_within,
        };
        if place.is_new {
            cluster.init()?;
        }
        cluster.launch(Instant::now() + cluster.ready_within)?;
        Ok(cluster)
    }

    /// The URL of a database through the server's socket, for us and for every libpq program.
    pub fn url(&self, database: &str) -> String {
        let port = self.port;
        let folder = self.home.display().to_string();
        let folder = utf8_percent_encode(&folder, NON_ALPHANUMERIC);
        let database = utf8_percent_encode(database, NON_ALPHANUMERIC);
        format!("postgres://postgres@{folder}:{port}/{database}")
    }

    /// The URL of a database through TCP, with the password; `None` without TCP.
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let Self { port, password, .. } = self;
        let database = utf8_percent_encode(database, NON_ALPHANUMERIC);
        self.has_tcp
            .then(|| format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}"))
    }

    /// The folder of the socket and the log.
    pub fn directory(&self) -> &Path {
        &self.home
    }

    /// Stops the server in good order; [`Cluster::start_again`] brings it back.
    ///
    /// # Errors
    /// If the guard is gone.
    pub fn stop(&self) -> Result<(), ClusterError> {
        self.order(Order::Stop).map(drop)
    }

    /// Kills the server as a crash would; [`Cluster::start_again`] brings it back.
    ///
    /// # Errors
    /// If the guard is gone.
    pub fn kill(&self) -> Result<(), ClusterError> {
        self.order(Order::Kill).map(drop)
    }

    /// Starts a stopped or killed server on the same socket and port.
    ///
    /// # Errors
    /// If it does not come up in time.
    pub fn start_again(&self) -> Result<(), ClusterError> {
        let deadline = Instant::now() + self.ready_within;
        loop {
            match self.launch(deadline) {
                // The children of a killed server hold its memory for a moment longer.
                Err(ClusterError::Ended { .. }) if Instant::now() < deadline => {
                    thread::sleep(LOOK_AGAIN_AFTER);
                }
                outcome => return outcome,
            }
        }
    }

    /// Stops and starts the server.
    ///
    /// # Errors
    /// If it does not come back in time.
    pub fn restart(&self) -> Result<(), ClusterError> {
        self.stop()?;
        self.start_again()
    }

    fn init(&self) -> Result<(), ClusterError> {
        if self.order(Order::Init)? {
            return Ok(());
        }
        Err(ClusterError::Init { log: self.log() })
    }

    fn launch(&self, deadline: Instant) -> Result<(), ClusterError> {
        self.order(Order::Start)?;
        while !self.accepts() {
            if self.home.join("ended").exists() {
                return Err(ClusterError::Ended { log: self.log() });
            }
            if Instant::now() >= deadline {
                return Err(ClusterError::NotReady {
                    waited: self.ready_within,
                    log: self.log(),
                });
            }
            thread::sleep(LOOK_AGAIN_AFTER);
        }
        Ok(())
    }

    /// Whether the server says it is ready and its socket agrees: a killed one leaves its word behind.
    fn accepts(&self) -> bool {
        let socket = self.home.join(format!(".s.PGSQL.{}", self.port));
        fs::read_to_string(self.data.join("postmaster.pid")).is_ok_and(|text| {
            text.lines()
                .nth(7)
                .is_some_and(|word| word.trim() == "ready")
        }) && UnixStream::connect(socket).is_ok()
    }

    fn order(&self, order: Order) -> Result<bool, ClusterError> {
        self.guard().order(order).map_err(ClusterError::Guard)
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last lines of the server's log.
    fn log(&self) -> String {
        const LINES: usize = 12;
        let log = fs::read(self.home.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

fn choose_port(tcp: Tcp) -> Result<u16, ClusterError> {
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr();
    match tcp {
        Tcp::Off => Ok(SOCKET_PORT),
        Tcp::Port(port) => Ok(port),
        Tcp::Free => free()
            .map(|address| address.port())
            .map_err(preparing(Path::new("127.0.0.1:0"))),
    }
}

/// The server's command line after its data folder; of two settings of one name the later wins.
fn arguments(options: &ClusterOptions, home: &Path, port: u16) -> Vec<String> {
    let fsync = if options.fsync { "on" } else { "off" };
    let addresses = if options.tcp == Tcp::Off {
        ""
    } else {
        "127.0.0.1"
    };
    let own = [
        ("port", port.to_string().as_str()),
        ("listen_addresses", addresses),
        ("unix_socket_directories", &home.display().to_string()),
        ("fsync", fsync),
        ("full_page_writes", fsync),
        ("shared_buffers", "32MB"),
        // In the data folder instead of /dev/shm, so that even a killed server leaves nothing behind.
        ("dynamic_shared_memory_type", "mmap"),
    ]
    .map(|(name, value)| format!("{name}={value}"));
    let theirs = options
        .settings
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    own.into_iter()
        .chain(theirs)
        .flat_map(|setting| ["-c".to_owned(), setting])
        .collect()
}
