use super::*;

fn refusal(url: &str) -> String {
    let error = Database::new(&DatabaseOptions::new(url)).expect_err(url);
    format!("{error}")
}

#[test]
fn tls_settings_that_cannot_work_are_refused_before_connecting() {
    for (url, hint) in [
        (
            "postgres://h/d?sslmode=require&sslrootcert=system",
            "sslmode=verify-full",
        ),
        (
            "postgres://h/d?sslmode=require&sslcert=/c.crt",
            "sslkey is missing",
        ),
        (
            "postgres://h/d?sslmode=require&sslkey=/c.key",
            "sslcert is missing",
        ),
        (
            "postgres://h/d?sslmode=require&sslrootcert=/none.crt",
            "/none.crt",
        ),
        (
            "postgres://h/d?sslmode=verify-ca&sslrootcert=/dev/null",
            "no certificate in PEM form",
        ),
    ] {
        let told = refusal(url);
        assert!(told.contains(hint), "{url}: {told}");
    }
}

#[test]
fn a_password_of_its_own_is_used_where_the_string_has_none_and_is_never_shown() {
    for (url, seen) in [
        ("postgres://u@h/d", "geheim"),
        ("postgres://u:other@h/d", "other"),
        ("host=h user=u", "geheim"),
    ] {
        let mut options = DatabaseOptions::new(url);
        options.password = Some("geheim".to_owned());
        let endpoint = Endpoint::new(url, &options).expect("good options");
        assert_eq!(
            endpoint.config.get_password(),
            Some(seen.as_bytes()),
            "{url}"
        );
        assert!(!format!("{options:?}").contains("geheim"));
    }
}

#[test]
fn a_unix_socket_is_never_encrypted() {
    let options = DatabaseOptions::new("host=/run/pg sslmode=verify-full sslrootcert=/none.crt");
    assert!(Database::new(&options).is_ok());
}

#[test]
fn a_direct_address_serves_dedicated_connections_only() {
    let mut options = DatabaseOptions::new("postgres://pooler:6432/d");
    options.direct_url = Some("postgres://server/d".to_owned());
    let database = Database::new(&options).expect("good options");
    assert_eq!(database.address(), "server:5432/d");
}

#[tokio::test]
async fn an_unreachable_server_is_named_without_the_password() {
    // Port 1 on this machine: nobody listens there.
    let options = DatabaseOptions::new("postgres://u:geheim@127.0.0.1:1/d");
    let database = Database::new(&options).expect("good options");
    let error = database
        .connect("test")
        .await
        .err()
        .expect("nobody listens");
    assert_eq!(error.fault, ConnectFault::Unreachable);
    let told = format!("{error} {error:?}");
    assert!(
        told.starts_with("could not connect to 127.0.0.1:1/d: is Postgres running"),
        "{told}"
    );
    assert!(!told.contains("geheim"), "{told}");
}
