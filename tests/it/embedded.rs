//! The private Postgres: it works, it comes back, and it never stays behind.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, thread};

use rowcast::embedded::{Cluster, ClusterError, Storage, Tcp};

use crate::support::{DEADLINE, client, cluster_options, eventually};

const COUNT: &str = "select count(*) from public.kept";

#[tokio::test]
async fn a_cluster_outlives_stops_and_crashes_of_its_server() {
    let cluster = Cluster::start(&cluster_options()).unwrap();
    let url = cluster.url("postgres");
    client(&url)
        .await
        .batch_execute("create table public.kept (id int); insert into public.kept values (1)")
        .await
        .unwrap();
    cluster.restart().unwrap();
    assert_eq!(count(&url).await, 1, "after a restart");

    let witness = client(&url).await;
    cluster.kill().unwrap();
    eventually(DEADLINE, || async {
        witness
            .execute("select 1", &[])
            .await
            .err()
            .ok_or("an answer")
    })
    .await;
    cluster.start_again().unwrap();
    assert_eq!(count(&url).await, 1, "after a crash");

    let home = cluster.directory().to_owned();
    drop(cluster);
    assert_no_trace(&home);
}

#[tokio::test]
async fn a_killed_cluster_is_swept_up_too() {
    let cluster = Cluster::start(&cluster_options()).unwrap();
    let home = cluster.directory().to_owned();
    cluster.kill().unwrap();
    drop(cluster);
    assert_no_trace(&home);
}

#[tokio::test]
async fn tcp_needs_the_password() {
    let mut options = cluster_options();
    options.tcp = Tcp::Free;
    let cluster = Cluster::start(&options).unwrap();
    let url = cluster.tcp_url("postgres").unwrap();
    client(&url).await.execute("select 1", &[]).await.unwrap();
    let (_, address) = url.split_once('@').unwrap();
    let refused = tokio_postgres::connect(
        &format!("postgres://postgres:wrong@{address}"),
        tokio_postgres::NoTls,
    )
    .await;
    assert!(refused.is_err());
    // And the socket, which needs none, is in a folder that only its owner may enter.
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(cluster.directory()).unwrap());
    assert_eq!(mode & 0o077, 0);
}

#[tokio::test]
async fn a_kept_folder_serves_one_at_a_time_and_comes_back_with_its_data() {
    let parent = tempfile_in_tmp("kept");
    let mut options = cluster_options();
    options.tcp = Tcp::Free;
    options.storage = Storage::Kept(parent.join("data"));
    let cluster = Cluster::start(&options).unwrap();
    let url = cluster.url("postgres");
    client(&url)
        .await
        .batch_execute("create table public.kept (id int); insert into public.kept values (1)")
        .await
        .unwrap();
    let second = Cluster::start(&options).expect_err("the folder is in use");
    assert!(matches!(second, ClusterError::InUse(_)), "{second}");

    let home = cluster.directory().to_owned();
    drop(cluster);
    assert_no_trace(&home);
    let again = Cluster::start(&options).unwrap();
    assert_eq!(count(&again.tcp_url("postgres").unwrap()).await, 1);
    drop(again);
    fs::remove_dir_all(parent).unwrap();
}

#[test]
fn a_folder_with_other_things_in_it_is_left_alone() {
    let parent = tempfile_in_tmp("foreign");
    fs::write(parent.join("thesis.txt"), "").unwrap();
    let mut options = cluster_options();
    options.storage = Storage::Kept(parent.clone());
    let refusal = Cluster::start(&options).expect_err("it is not ours");
    assert!(matches!(refusal, ClusterError::Foreign(_)), "{refusal}");
    assert_eq!(fs::read_dir(&parent).unwrap().count(), 1);
    fs::remove_dir_all(parent).unwrap();
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let mut options = cluster_options();
    options
        .settings
        .push(("no_such_setting".into(), "1".into()));
    let error = Cluster::start(&options)
        .expect_err("the setting is unknown")
        .to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

/// Kills a process that holds a cluster, as the kernel would: nothing of ours runs in it any more.
#[tokio::test]
async fn nothing_is_left_when_the_process_is_killed() {
    let mut holder = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "embedded::hold_a_cluster",
            "--ignored",
            "--nocapture",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let home = BufReader::new(holder.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        // The test runner's own words may stand before ours on the line.
        .find_map(|line| Some(PathBuf::from(line.split_once("holding ")?.1)))
        .expect("the holder says where its cluster is");
    assert!(!processes_naming(&home).is_empty());
    holder.kill().unwrap();
    holder.wait().unwrap();
    eventually(DEADLINE, || async {
        let left = processes_naming(&home);
        if left.is_empty() && !home.exists() {
            Ok(())
        } else {
            Err((left, home.exists()))
        }
    })
    .await;
}

#[test]
#[ignore = "a part of nothing_is_left_when_the_process_is_killed"]
fn hold_a_cluster() {
    let cluster = Cluster::start(&cluster_options()).unwrap();
    println!("holding {}", cluster.directory().display());
    loop {
        thread::park();
    }
}

async fn count(url: &str) -> i64 {
    client(url)
        .await
        .query_one(COUNT, &[])
        .await
        .unwrap()
        .get(0)
}

fn assert_no_trace(home: &Path) {
    assert!(!home.exists(), "{home:?} is still there");
    assert_eq!(processes_naming(home), Vec::<String>::new());
}

/// The command lines of running processes that mention `home`.
fn processes_naming(home: &Path) -> Vec<String> {
    let output = Command::new("ps")
        .args(["-axww", "-o", "command="])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.contains(home.to_str().unwrap()))
        .map(str::to_owned)
        .collect()
}

/// A new folder that any account may enter; `TMPDIR` may lie where the server's cannot.
fn tempfile_in_tmp(name: &str) -> PathBuf {
    let folder = PathBuf::from(format!("/tmp/rowcast-test-{name}-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    folder
}
