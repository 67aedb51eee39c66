//! What a name in a path leads to: relations, relations the other way round, declared names.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Catalog, Collection};

/// One step from a record to others: those whose field `to` has the value that our field `from` has, or
/// one of those in it.
#[derive(Debug, Clone, Copy)]
pub struct Link<'c> {
    /// Whose records it leads to.
    pub collection: &'c Arc<Collection>,
    /// The field it starts from, of the collection it starts from.
    pub from: usize,
    /// The field of `collection` that has the same value.
    pub to: usize,
    /// Whether it leads to one record at most.
    pub single: bool,
}

impl Catalog {
    /// Relations in one path, as in PocketBase.
    pub const RELATIONS_MAX: usize = 6;
    /// Declared names that stand for paths with declared names in them, and so on.
    pub const ALIASES_MAX: usize = 8;

    /// Where the relation leads that a field is, if it is one.
    pub fn relation(&self, from: &Collection, field: usize) -> Option<Link<'_>> {
        let described = from.fields.get(field)?;
        let relation = described.relation.as_ref()?;
        let collection = self.get(relation.collection)?;
        Some(Link {
            collection,
            from: field,
            to: collection.field(&relation.field)?,
            single: !described.is_list(),
        })
    }

    /// What `COLLECTION_via_FIELD` may mean: the records whose field points here. Both names may
    /// contain `_via_` themselves, so that there may be several readings; the first one counts that
    /// whoever wrote it may name.
    pub fn back_relations<'c>(
        &'c self,
        to: &Collection,
        name: &str,
    ) -> impl Iterator<Item = Link<'c>> {
        name.match_indices("_via_").filter_map(move |(at, via)| {
            let collection = self.find(&name[..at])?;
            let field = collection.field(&name[at + via.len()..])?;
            let pointing = &collection.fields[field];
            let relation = pointing.relation.as_ref()?;
            let is_ours = relation.collection == to.key;
            Some(Link {
                collection,
                from: to.field(&relation.field).filter(|_| is_ours)?,
                to: field,
                single: pointing.unique && !pointing.is_list(),
            })
        })
    }

    /// The steps to the records that a name stands for: one, or those of the path that it was declared
    /// for. `may_name` says which fields may be followed, from either end.
    pub fn route<'c>(
        &'c self,
        from: &Collection,
        name: &str,
        may_name: impl Fn(&Collection, usize) -> bool,
    ) -> Option<Vec<Link<'c>>> {
        let mut names = VecDeque::from([name]);
        let (mut at, mut aliases, mut route) = (from, 0, Vec::new());
        while let Some(name) = names.pop_front() {
            if let Some(path) = at.aliases.get(name) {
                aliases += 1;
                if aliases > Self::ALIASES_MAX {
                    return None;
                }
                path.rsplit('.').for_each(|name| names.push_front(name));
                continue;
            }
            if route.len() == Self::RELATIONS_MAX {
                return None;
            }
            let link = self.link(at, name, &may_name)?;
            at = link.collection;
            route.push(link);
        }
        Some(route)
    }

    fn link(
        &self,
        from: &Collection,
        name: &str,
        may_name: impl Fn(&Collection, usize) -> bool,
    ) -> Option<Link<'_>> {
        let allowed =
            |link: &Link<'_>| may_name(from, link.from) && may_name(link.collection, link.to);
        let field = from.field(name).filter(|&field| may_name(from, field));
        match field {
            Some(field) => self.relation(from, field).filter(allowed),
            None => self.back_relations(from, name).find(allowed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CollectionKey, Field, FieldKind, Relation};
    use super::*;

    fn to(name: &str, collection: i32) -> Field {
        Field {
            relation: Some(Relation {
                collection: CollectionKey(collection),
                field: "id".into(),
            }),
            ..Field::new(name, FieldKind::Text)
        }
    }

    fn catalog() -> Catalog {
        let text = |name| Field::new(name, FieldKind::Text);
        let list = FieldKind::Array(Box::new(FieldKind::Text));
        let hidden = Field {
            hidden: true,
            ..to("secret", 2)
        };
        let unique = Field {
            unique: true,
            ..to("user", 2)
        };
        let several = Field {
            kind: list,
            ..to("tags", 3)
        };
        let new = |key, name, fields| Collection::new(CollectionKey(key), name, fields);
        let mut posts = new(
            1,
            "posts",
            vec![text("id"), to("author", 2), several, hidden],
        );
        for (name, path) in [
            ("labels", "post_tags_via_post.tag"),
            ("people", "labels.owner"),
            ("loop", "loop.author"),
            ("nowhere", "author.name"),
        ] {
            posts.aliases.insert(name.into(), path.into());
        }
        Catalog::new([
            posts,
            new(2, "users", vec![text("id"), text("name")]),
            new(3, "tags", vec![text("id"), to("owner", 2)]),
            new(
                4,
                "post_tags",
                vec![text("id"), to("post", 1), to("tag", 3)],
            ),
            new(5, "profiles", vec![text("id"), unique]),
            new(6, "x_via_y", vec![text("id"), to("via_user", 2)]),
        ])
    }

    /// Where a name leads: `collection.field`, with a `+` behind what may be several.
    fn route(from: &str, name: &str, superuser: bool) -> Option<String> {
        let catalog = catalog();
        let from = catalog.find(from).expect("a collection");
        let may_name =
            |collection: &Collection, field: usize| superuser || !collection.fields[field].hidden;
        let route = catalog.route(from, name, may_name)?;
        let steps = route.iter().map(|link| {
            let several = if link.single { "" } else { "+" };
            let field = &link.collection.fields[link.to].name;
            format!("{}.{field}{several}", link.collection.name)
        });
        Some(steps.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn names_lead_to_records() {
        for (from, name, leads) in [
            ("posts", "author", Some("users.id")),
            ("posts", "tags", Some("tags.id+")),
            ("posts", "post_tags_via_post", Some("post_tags.post+")),
            ("posts", "labels", Some("post_tags.post+ tags.id")),
            ("posts", "people", Some("post_tags.post+ tags.id users.id")),
            ("users", "posts_via_author", Some("posts.author+")),
            ("users", "profiles_via_user", Some("profiles.user")),
            ("users", "x_via_y_via_via_user", Some("x_via_y.via_user+")),
            ("posts", "loop", None),
            ("posts", "nowhere", None),
            ("posts", "id", None),
            ("posts", "nope", None),
            ("posts", "", None),
            ("posts", "posts_via_author", None),
            ("users", "nope_via_author", None),
            ("users", "posts_via_nope", None),
            ("users", "posts_via_", None),
        ] {
            assert_eq!(
                route(from, name, false).as_deref(),
                leads,
                "{name} of {from}"
            );
        }
    }

    #[test]
    fn fields_that_may_not_be_named_lead_nowhere() {
        for (from, name, leads) in [
            ("posts", "secret", "users.id"),
            ("users", "posts_via_secret", "posts.secret+"),
        ] {
            assert_eq!(route(from, name, false), None, "{name}");
            assert_eq!(route(from, name, true).as_deref(), Some(leads), "{name}");
        }
    }
}
