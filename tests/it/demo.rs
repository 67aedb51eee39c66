//! What `rowcast demo` does to its database.

use tokio_postgres::Client;

use crate::support::source::text;
use crate::support::{client, database};

const FILES: [&str; 3] = ["posts", "comments", "drafts"];

async fn set_up(client: &Client) {
    for file in FILES {
        let statements = text(format!("sql/demo/{file}.sql"));
        client
            .batch_execute(&statements)
            .await
            .unwrap_or_else(|error| panic!("{file}.sql: {error:?}"));
    }
}

#[tokio::test]
async fn the_demo_collections_can_be_set_up_twice() {
    let database = database().await;
    let client = client(&database.url).await;
    set_up(&client).await;
    let before = collections(&client).await;
    assert_eq!(before.len(), FILES.len(), "{before:?}");
    set_up(&client).await;
    assert_eq!(collections(&client).await, before);
}

async fn collections(client: &Client) -> Vec<String> {
    let rows = client
        .query(
            "select c::text from rowcast.collections c order by c.key",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn however_long_the_demo_runs_its_tables_stay_small() {
    let database = database().await;
    let client = client(&database.url).await;
    set_up(&client).await;
    let change = text("sql/cli/demo_change.sql");
    for _ in 0..600 {
        client.batch_execute(&change).await.unwrap();
    }
    for (table, most) in [("posts", 30), ("comments", 60), ("drafts", 20)] {
        let count: i64 = client
            .query_one(&format!("select count(*) from public.{table}"), &[])
            .await
            .unwrap()
            .get(0);
        assert!(0 < count && count <= most, "{count} {table}");
    }
}
