use std::io::Write as _;
use std::time::Duration;

use super::*;

fn sources(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let path = (!file.is_empty()).then(|| {
        let mut file_on_disk = tempfile::NamedTempFile::new().expect("a file");
        file_on_disk.write_all(file.as_bytes()).expect("written");
        file_on_disk.into_temp_path().keep().expect("kept")
    });
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flag = |(name, value): &(&str, &str)| Flag {
        flag: format!("--{}", name.replace('_', "-")),
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    Sources {
        file: path,
        environment: environment.iter().map(pair).collect(),
        flags: flags.iter().map(flag).collect(),
    }
}

fn load(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, String> {
    let sources = sources(file, environment, flags);
    let loaded = Config::load(&sources, Need::Nothing).map_err(|errors| errors.to_string());
    if let Some(path) = sources.file {
        std::fs::remove_file(path).expect("removed");
    }
    loaded
}

#[test]
fn flags_beat_the_environment_and_the_environment_beats_the_file() {
    let file = "idle_timeout = \"1m\"\nheartbeat = \"20s\"\nlifetime_jitter = 0.5";
    let environment = [
        ("ROWCAST_HEARTBEAT", "30s"),
        ("ROWCAST_LIFETIME_JITTER", "0"),
    ];
    let config = load(file, &environment, &[("lifetime_jitter", "1")]).expect("a good config");
    assert_eq!(config.http.idle_timeout, Duration::from_secs(60));
    assert_eq!(config.http.heartbeat, Some(Duration::from_secs(30)));
    assert!((config.http.lifetime_jitter - 1.0).abs() < f64::EPSILON);
}

#[test]
fn the_file_takes_plain_values_lists_and_long_names() {
    let file = r#"
        subscribers_max = 5_000
        wildcard = false
        heartbeat = "off"
        body_bytes_max = "2MiB"
        log_bytes_max = 1073741824
        bell = "off"
        trusted_proxy_headers = ["X-Forwarded-For", "X-Real-IP"]
        rowcast_max_lifetime = "1h 30m"
    "#;
    let config = load(file, &[], &[]).expect("a good config");
    assert_eq!(config.hub.subscribers_max, 5_000);
    assert!(!config.hub.wildcard);
    assert_eq!(config.http.heartbeat, None);
    assert_eq!(config.http.body_bytes_max, 2 * 1024 * 1024);
    assert_eq!(config.capture.log_bytes_max, 1 << 30);
    assert_eq!(config.capture.bell, crate::capture::Bell::Off);
    assert_eq!(
        config.http.trusted_proxy_headers,
        ["x-forwarded-for", "x-real-ip"]
    );
    assert_eq!(config.http.lifetime_max, Duration::from_secs(90 * 60));
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_its_remedy() {
    let file = "idel_timeout = \"1m\"\nmax_lifetime = \"1 parsec\"\n[database]\nurl = \"x\"";
    let environment = [
        ("ROWCAST_LIFETIME_JITTER", "20%"),
        ("ROWCAST_LISTEN", "8090"),
        (
            "ROWCAST_DATABASE_URL",
            "postgres://u:geheim@h/d?sslmode=none",
        ),
        ("PGSSLMODE", "maybe"),
        ("PGPASSWORD", "geheim"),
    ];
    let told = load(file, &environment, &[("subscribers_max", "0")]).expect_err("many mistakes");
    for hint in [
        "8 settings are wrong",
        "idel_timeout (from ",
        "did you mean idle_timeout?",
        "max_lifetime (from ",
        "write it with its unit, like 300s",
        "database (from ",
        "is a section",
        "lifetime_jitter (from the variable ROWCAST_LIFETIME_JITTER)",
        "\"20%\" is no share",
        "listen (from the variable ROWCAST_LISTEN)",
        "write it like 127.0.0.1:8090",
        "database_url (from the variable ROWCAST_DATABASE_URL)",
        "sslmode must be disable",
        "PGSSLMODE (from the variable PGSSLMODE)",
        "subscribers_max (from --subscribers-max)",
        "0 is out of bounds; allowed is 1 to",
    ] {
        assert!(told.contains(hint), "should say {hint:?}:\n{told}");
    }
    assert!(!told.contains("geheim"), "{told}");
}

#[test]
fn a_broken_file_names_the_line_and_keeps_its_text_to_itself() {
    let told = load("listen = \"a\"\ndatabase_url = \"geheim\n", &[], &[]).expect_err("no TOML");
    assert!(told.contains("in line 2"), "{told}");
    assert!(!told.contains("geheim"), "{told}");
    let missing = Sources {
        file: Some(PathBuf::from("/no/such/file.toml")),
        ..Sources::default()
    };
    let told = Config::load(&missing, Need::Nothing)
        .expect_err("no file")
        .to_string();
    assert!(
        told.contains("/no/such/file.toml): cannot be read"),
        "{told}"
    );
}

#[test]
fn a_database_is_found_under_both_names_and_missed_by_name() {
    let both = [
        ("DATABASE_URL", "postgres://a/d"),
        ("ROWCAST_DATABASE_URL", "postgres://b/d"),
    ];
    assert_eq!(
        load("", &both, &[]).expect("good").database.url,
        "postgres://b/d"
    );
    assert_eq!(
        load("", &both[..1], &[]).expect("good").database.url,
        "postgres://a/d"
    );
    let empty = sources("", &[("DATABASE_URL", "")], &[]);
    let told = Config::load(&empty, Need::Database)
        .expect_err("none")
        .to_string();
    assert!(told.contains("give --database-url"), "{told}");
}

#[test]
fn unknown_variables_are_no_mistake_but_slips_are_told() {
    let environment = [
        ("ROWCAST_SERVICE_PORT_HTTP", "tcp://10.0.0.1:80"),
        ("ROWCAST_IDEL_TIMEOUT", "1m"),
        ("ROWCAST_BELL", ""),
    ];
    let config = load("", &environment, &[]).expect("no mistake");
    assert_eq!(
        config.notices(),
        ["ROWCAST_IDEL_TIMEOUT is no setting; did you mean ROWCAST_IDLE_TIMEOUT?"]
    );
}

#[test]
fn templates_must_lie_in_a_folder_that_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a path");
    let config = load("", &[("ROWCAST_TEMPLATES", path)], &[]).expect("good");
    assert_eq!(config.templates.as_deref(), Some(folder.path()));
    let gone = format!("{path}/gone");
    let mistakes = load("", &[("ROWCAST_TEMPLATES", &gone)], &[]).expect_err("no folder");
    assert!(mistakes.contains("ROWCAST_TEMPLATES"), "{mistakes}");
    assert!(mistakes.contains("is no folder"), "{mistakes}");
}

#[test]
fn what_is_printed_can_be_read_again_and_shows_no_secret() {
    let environment = [
        ("DATABASE_URL", "postgres://u:geheim@h/d"),
        ("ROWCAST_BELL", "on"),
    ];
    let config = load("", &environment, &[]).expect("good");
    let printed = config.to_toml();
    assert!(
        printed.contains("(from the variable ROWCAST_BELL)\nbell = \"on\""),
        "{printed}"
    );
    assert!(printed.contains("postgres://u:***@h/d"), "{printed}");
    assert!(!printed.contains("geheim"), "{printed}");
    let again = load(&printed, &[], &[]).expect("it can be read");
    let without_comments = |text: String| {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    assert_eq!(without_comments(again.to_toml()), without_comments(printed));
}

#[test]
fn every_default_is_within_its_own_bounds() {
    let default = Config::default();
    for setting in settings()
        .iter()
        .filter(|setting| !setting.is_unset(&default))
    {
        let text = setting.show(&default);
        let mut config = Config::default();
        let set = setting.set(&mut config, &text);
        assert_eq!(set, Ok(()), "{} = {text}", setting.name);
        assert_eq!(setting.show(&config), text, "{}", setting.name);
    }
}
