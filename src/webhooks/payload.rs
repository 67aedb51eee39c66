//! What webhooks are told.

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::auth::Principal;
use crate::hooks::{Connect, Disconnect, Message, Subscribe, Subscriber};

/// A request for a stream.
pub(super) fn connect(connect: &Connect, headers: &[HeaderName]) -> Value {
    let mut data = who(&connect.subscriber, &connect.principal);
    data.insert("url".to_owned(), connect.uri.to_string().into());
    data.insert("headers".to_owned(), picked(&connect.headers, headers));
    event("connect", data.into())
}

/// A request to replace subscriptions.
pub(super) fn subscribe(subscribe: &Subscribe, headers: &[HeaderName]) -> Value {
    let mut data = who(&subscribe.subscriber, &subscribe.principal);
    let texts = subscribe.subscriptions.iter().map(|one| &**one.text());
    data.insert("subscriptions".to_owned(), texts.collect::<Vec<_>>().into());
    data.insert("headers".to_owned(), picked(&subscribe.headers, headers));
    event("subscribe", data.into())
}

/// The end of a stream.
pub(super) fn disconnect(end: &Disconnect) -> Value {
    let mut data = who(&end.subscriber, &end.principal);
    data.insert("reason".to_owned(), end.reason.as_str().into());
    data.insert("wasOpen".to_owned(), end.reason.was_open().into());
    let milliseconds = u64::try_from(end.lasted.as_millis()).unwrap_or(u64::MAX);
    data.insert("lastedMilliseconds".to_owned(), milliseconds.into());
    event("disconnect", data.into())
}

/// One of many messages.
pub(super) fn message(message: &Message<'_>) -> Value {
    let mut told = who(message.subscriber, message.principal);
    told.insert("name".to_owned(), message.name.clone().into());
    let text = String::from_utf8_lossy(&message.data);
    let data = serde_json::from_str(&text).unwrap_or_else(|_| text.into_owned().into());
    told.insert("data".to_owned(), data);
    told.into()
}

/// Many messages.
pub(super) fn messages(messages: Vec<Value>) -> Value {
    event("message", json!({ "messages": messages }))
}

fn event(kind: &str, data: Value) -> Value {
    json!({ "type": kind, "timestamp": Timestamp::now().to_string(), "data": data })
}

fn who(subscriber: &Subscriber, principal: &Principal) -> Map<String, Value> {
    let principal = match principal {
        Principal::Guest => json!({ "kind": "guest" }),
        Principal::Superuser { id } => json!({ "kind": "superuser", "id": &**id }),
        Principal::Record(record) => json!({
            "kind": "record",
            "id": &*record.id,
            "collectionId": &*record.collection_id,
            "collectionName": &*record.collection_name,
        }),
    };
    let members = [
        ("clientId", (*subscriber.client_id).into()),
        ("address", subscriber.address.to_string().into()),
        ("principal", principal),
    ];
    members
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

fn picked(headers: &HeaderMap, names: &[HeaderName]) -> Value {
    let present = names.iter().filter_map(|name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.into()))
    });
    Value::Object(present.collect())
}
