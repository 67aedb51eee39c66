//! Passwords: bcrypt and argon2 hashes checked off the async threads, a few at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::principal::SUPERUSERS_ID;

/// Checks that may wait for their turn; beyond that a login is turned away at once.
const WAITING_MAX: usize = 64;
/// One check at cost 16 takes several seconds; a higher one is a mistake in the table.
const BCRYPT_COST_MAX: u32 = 16;
/// In KiB.
const ARGON2_MEMORY_MAX: u32 = 1024 * 1024;
const ARGON2_TIME_MAX: u32 = 32;
const ARGON2_LANES_MAX: u32 = 64;

/// What is checked where there is nobody, so that an unknown name takes as long as a wrong password:
/// bcrypt at PocketBase's cost, until a hash of the collection has been seen.
const NOBODYS_HASH: &str = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";

/// The same for superusers, whose hashes are ours: as dear as [`hash`] makes them.
const NO_SUPERUSERS_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const SALT_BYTES: usize = 16;

/// Checks passwords; cloning shares the limits.
#[derive(Debug, Clone)]
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
    room: Arc<Semaphore>,
    /// By collection id, a hash like all of them.
    samples: Arc<Mutex<HashMap<Arc<str>, Arc<str>>>>,
}

/// Why a password was not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PasswordError {
    #[error("too many logins wait for their turn")]
    Busy,
    #[error("the hash is neither bcrypt nor argon2 within the limits")]
    Unusable,
}

impl Passwords {
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(2, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(cores.div_ceil(2))),
            room: Arc::new(Semaphore::new(WAITING_MAX)),
            samples: Arc::new(Mutex::new(HashMap::from([(
                SUPERUSERS_ID.into(),
                NO_SUPERUSERS_HASH.into(),
            )]))),
        }
    }

    /// Whether the password is the one of this hash. Without a hash it is not, after the time that
    /// finding out would have taken. Dropping it half-way leaves the check to finish by itself.
    pub(super) async fn is_right(
        &self,
        collection_id: &Arc<str>,
        password: &str,
        hash: Option<&str>,
    ) -> Result<bool, PasswordError> {
        let checked: Arc<str> = match hash {
            Some(hash) => hash.into(),
            None => self.sample(collection_id),
        };
        let right = self.check(password.to_owned(), Arc::clone(&checked)).await;
        if hash.is_some() && right.is_ok() {
            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.insert(Arc::clone(collection_id), checked);
        }
        Ok(right? && hash.is_some())
    }

    fn sample(&self, collection_id: &Arc<str>) -> Arc<str> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = samples.get(collection_id).cloned();
        sample.unwrap_or_else(|| NOBODYS_HASH.into())
    }

    async fn check(&self, password: String, hash: Arc<str>) -> Result<bool, PasswordError> {
        let room = Arc::clone(&self.room).try_acquire_owned();
        let room = room.map_err(|_| PasswordError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.expect("the semaphore is never closed");
        let checking = spawn_blocking(move || {
            // Kept until the work is done, even if nobody waits for it any more.
            let _kept = (room, turn);
            verify(&password, &hash)
        });
        checking.await.unwrap_or(Err(PasswordError::Unusable))
    }
}

/// The hash of a new password; `None` if there is not enough memory.
pub(super) async fn hash(password: &str) -> Option<String> {
    let password = password.to_owned();
    let hashing = spawn_blocking(move || {
        let salt: [u8; SALT_BYTES] = rand::random();
        let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
        Some(hash.ok()?.to_string())
    });
    hashing.await.ok()?
}

fn verify(password: &str, hash: &str) -> Result<bool, PasswordError> {
    match hash.starts_with("$argon2") {
        true => verify_argon2(password, hash),
        false => verify_bcrypt(password, hash),
    }
}

fn verify_bcrypt(password: &str, hash: &str) -> Result<bool, PasswordError> {
    let known = ["$2a$", "$2b$", "$2y$"];
    let rest = known.iter().find_map(|prefix| hash.strip_prefix(prefix));
    let cost = rest.and_then(|rest| rest.get(..2)?.parse::<u32>().ok());
    if cost.is_none_or(|cost| cost > BCRYPT_COST_MAX) {
        return Err(PasswordError::Unusable);
    }
    bcrypt::verify(password, hash).map_err(|_| PasswordError::Unusable)
}

fn verify_argon2(password: &str, hash: &str) -> Result<bool, PasswordError> {
    let hash = PasswordHash::new(hash).map_err(|_| PasswordError::Unusable)?;
    let params = argon2::Params::try_from(&hash).map_err(|_| PasswordError::Unusable)?;
    let bounded = params.m_cost() <= ARGON2_MEMORY_MAX
        && params.t_cost() <= ARGON2_TIME_MAX
        && params.p_cost() <= ARGON2_LANES_MAX;
    if !bounded || hash.hash.is_none() || hash.salt.is_none() {
        return Err(PasswordError::Unusable);
    }
    Ok(Argon2::default()
        .verify_password(password.as_bytes(), &hash)
        .is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the password `correct horse`, as small as may be.
    const ARGON2: &str = "$argon2id$v=19$m=16,t=2,p=1$c2FsdHNhbHRzYWx0$";

    fn bcrypt_of(password: &str, version: bcrypt::Version) -> String {
        let parts = bcrypt::hash_with_result(password, 4).expect("a hash");
        parts.format_for_version(version)
    }

    fn argon2_of(password: &str, algorithm: argon2::Algorithm) -> String {
        use argon2::password_hash::CustomizedPasswordHasher;
        let params = argon2::Params::new(16, 2, 1, None).expect("parameters");
        let argon2 = Argon2::new(algorithm, argon2::Version::V0x13, params.clone());
        let name = algorithm.ident();
        let hash: PasswordHash = argon2
            .hash_password_customized(
                password.as_bytes(),
                b"saltsaltsalt",
                Some(name.as_str()),
                Some(19),
                params,
            )
            .expect("a hash");
        hash.to_string()
    }

    #[test]
    fn hashes_of_both_families_are_checked_and_others_refused() {
        use argon2::Algorithm::{Argon2d, Argon2i, Argon2id};
        use bcrypt::Version::{TwoA, TwoB, TwoY};
        let bcrypt = [TwoA, TwoB, TwoY].map(|version| bcrypt_of("correct horse", version));
        let argon2 = [Argon2d, Argon2i, Argon2id].map(|kind| argon2_of("correct horse", kind));
        for hash in bcrypt.iter().chain(&argon2) {
            assert_eq!(verify("correct horse", hash), Ok(true), "{hash}");
            assert_eq!(verify("wrong horse", hash), Ok(false), "{hash}");
            assert_eq!(verify("", hash), Ok(false), "{hash}");
        }
        for hash in [
            "",
            "correct horse",
            "$2a$31$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
            "$2a$xx$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
            "$2a$10$short",
            "$1$abc$def",
            "$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=16,t=2000,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ARGON2,
        ] {
            assert_eq!(
                verify("correct horse", hash),
                Err(PasswordError::Unusable),
                "{hash}"
            );
        }
    }

    #[tokio::test]
    async fn nobody_has_no_password_and_costs_what_the_others_do() {
        let passwords = Passwords::new();
        let collection: Arc<str> = "members".into();
        let hash = bcrypt_of("abc", bcrypt::Version::TwoB);
        assert_eq!(&*passwords.sample(&collection), NOBODYS_HASH);
        let right = passwords.is_right(&collection, "abc", Some(&hash)).await;
        assert_eq!(right, Ok(true));
        assert_eq!(
            *passwords.sample(&collection),
            *hash,
            "as dear as the last one"
        );
        assert_eq!(
            passwords.is_right(&collection, "abc", None).await,
            Ok(false)
        );
    }

    #[tokio::test]
    async fn a_superuser_that_is_not_there_costs_what_one_that_is_does() {
        let hash = hash("correct horse").await.expect("a hash");
        assert_eq!(verify("correct horse", &hash), Ok(true), "{hash}");
        assert_eq!(verify("wrong horse", &hash), Ok(false), "{hash}");
        let cost = |hash: &str| hash.split('$').nth(3).map(str::to_owned);
        let nobodys = Passwords::new().sample(&SUPERUSERS_ID.into());
        assert_eq!(cost(&nobodys), cost(&hash));
        assert_eq!(verify("", &nobodys), Ok(false), "it can be checked");
    }

    #[tokio::test]
    async fn a_crowd_is_turned_away_at_once() {
        let passwords = Passwords::new();
        let _taken = passwords.room.acquire_many(WAITING_MAX as u32).await;
        let answer = passwords.is_right(&"members".into(), "abc", None).await;
        assert_eq!(answer, Err(PasswordError::Busy));
    }
}
