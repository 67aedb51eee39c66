use super::*;
use crate::db::DatabaseOptions;
use crate::db::tls::SslMode;

/// Texts that nothing may ever repeat.
const SECRETS: [&str; 3] = ["geheim", "wort", "s3cr3t"];

fn tls(mode: Option<SslMode>, root: Option<&str>) -> TlsSettings {
    TlsSettings {
        mode,
        root_cert: root.map(PathBuf::from),
        ..TlsSettings::default()
    }
}

#[test]
fn both_forms_lead_to_the_same_place_and_lose_their_tls_options() {
    let full = Some(SslMode::VerifyFull);
    let none = TlsSettings::default();
    for (text, address_seen, tls_seen) in [
        ("postgres://u:p@h/d", "h:5432/d", none.clone()),
        ("postgresql://u:p@h:6432/d", "h:6432/d", none.clone()),
        (
            "postgres://u:p@h/d?sslmode=require",
            "h:5432/d",
            tls(Some(SslMode::Require), None),
        ),
        (
            "postgres://u:p@h/d?sslmode=verify-full&sslrootcert=%2Fca.crt&application_name=a%40b",
            "h:5432/d",
            tls(full, Some("/ca.crt")),
        ),
        (
            "postgres:///d?host=/run/pg&user=u",
            "/run/pg/.s.PGSQL.5432/d",
            none.clone(),
        ),
        ("postgres://a:1,b:2/d?user=u@v", "a:1,b:2/d", none.clone()),
        (
            "postgres://u:geheim?wort@h/d?sslmode=verify-ca",
            "h:5432/d",
            tls(Some(SslMode::VerifyCa), None),
        ),
        ("postgres://u@[::1]:7/d", "[::1]:7/d", none.clone()),
        (
            "host=h port=7 dbname=d user=u sslmode=verify-full",
            "h:7/d",
            tls(full, None),
        ),
        (
            "host = h dbname = 'd d' password='geheim \\' wort' user=u",
            "h:5432/d d",
            none.clone(),
        ),
        (
            "host=h dbname=d sslrootcert='/c a.crt'",
            "h:5432/d",
            tls(None, Some("/c a.crt")),
        ),
        (
            "hostaddr=10.0.0.1 dbname=d",
            "10.0.0.1:5432/d",
            none.clone(),
        ),
        (
            "host=h gssencmode=disable sslcompression=0 client_encoding=UTF8",
            "h:5432",
            none,
        ),
    ] {
        let parsed = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(address(&parsed.config), address_seen, "{text}");
        assert_eq!(parsed.tls, tls_seen, "{text}");
    }
}

#[test]
fn values_survive_the_detour() {
    for text in [
        "postgres://u%40x:p%2F%3F@h/d?application_name=a%20b%26c",
        r"user=u@x password='p/?' host=h dbname=d application_name='a b&c'",
    ] {
        let config = parse(text).expect("a good connection string").config;
        assert_eq!(config.get_user(), Some("u@x"), "{text}");
        assert_eq!(config.get_password(), Some(b"p/?".as_slice()), "{text}");
        assert_eq!(config.get_application_name(), Some("a b&c"), "{text}");
    }
}

#[test]
fn mistakes_say_what_to_do_and_keep_the_password_to_themselves() {
    for (text, hint) in [
        ("", "names no host"),
        ("geheim", "neither a URL nor"),
        ("mysql://u:geheim@h/d", "neither a URL nor"),
        ("postgres://u:geheim@wort@h/d", "%40"),
        ("postgres://u:geheim@wort@h:70/d", "%40"),
        ("postgres://u:geheim@h:wort/d", "port"),
        (
            "postgres://u:geheim@h/d?wort=s3cr3t",
            "option number 1 is unknown",
        ),
        (
            "postgres://u:geheim@h/d?wort",
            "option number 1 has no value",
        ),
        (
            "postgres://u:geheim@h/d?ssl_mode=require",
            "did you mean sslmode?",
        ),
        (
            "postgres://u:geheim@h/d?sslmode=s3cr3t",
            "must be disable, allow",
        ),
        (
            "postgres://u:geheim@h/d?sslpassword=s3cr3t",
            "unencrypted key",
        ),
        (
            "postgres://u:geheim@h/d?service=s3cr3t",
            "host, port, user and dbname",
        ),
        (
            "postgres://u:geheim@h/d?target_session_attrs=s3cr3t",
            "target_session_attrs",
        ),
        (
            "host=h password=geheim wort s3cr3t=1",
            "part 3 has no name of one word",
        ),
        (
            "host=h password=geheim wort=1",
            "option number 3 is unknown",
        ),
        ("host=h password='geheim wort", "quote that does not end"),
        ("postgres:///d?user=u", "names no host"),
    ] {
        let error = parse(text).expect_err(text);
        let told = format!("{error} {error:?}");
        assert!(told.contains(hint), "{text:?} should say {hint:?}: {told}");
        for secret in SECRETS {
            assert!(
                !told.contains(secret),
                "{text:?} gave {secret:?} away: {told}"
            );
        }
    }
}

#[test]
fn masked_strings_and_options_show_everything_but_passwords() {
    for (text, seen) in [
        (
            "postgres://u:geheim@h/d?sslmode=require",
            "postgres://u:***@h/d?sslmode=require",
        ),
        ("postgres://u:geheim@wort@h/d", "postgres://u:***@h/d"),
        ("postgres://u@h/d", "postgres://u@h/d"),
        (
            "postgres://h/d?user=u&password=geheim",
            "postgres://h/d?user=u&password=***",
        ),
        (
            "host=h password=geheim user=u",
            "host='h' password='***' user='u'",
        ),
        ("geheim wort", "***"),
    ] {
        assert_eq!(masked(text), seen);
        let debug = format!("{:?}", DatabaseOptions::new(text));
        for secret in SECRETS {
            assert!(!debug.contains(secret), "{debug}");
        }
    }
}
