//! `&&` and `||` side by side: which binds tighter is not known to all who read a rule.

use super::Finding;
use crate::rules::ast::{Expression, Span};
use crate::rules::lexer::{Lexer, TokenKind};

/// What was seen between one pair of parentheses.
#[derive(Default)]
struct Group {
    or: bool,
    and: Option<Span>,
}

pub(super) fn check(text: &str, expression: &Expression, found: &mut Vec<Finding>) {
    // The first is enough: what to write instead is the whole text.
    found.extend(first_mixed(text).map(|span| Finding {
        span,
        what: "&& binds tighter than ||, and no parentheses say so".to_owned(),
        instead: format!("Write what it means: {expression}"),
        about_guests: false,
    }));
}

fn first_mixed(text: &str) -> Option<Span> {
    let mut lexer = Lexer::new(text);
    let mut groups = vec![Group::default()];
    loop {
        let token = lexer.next().ok()?;
        let group = groups.last_mut()?;
        match token.kind {
            TokenKind::End => return None,
            TokenKind::Open | TokenKind::CallOpen(_) => groups.push(Group::default()),
            TokenKind::Close => drop(groups.pop()),
            TokenKind::Or => group.or = true,
            TokenKind::And => group.and = group.and.or(Some(token.span)),
            _ => {}
        }
        if let Some(Group {
            or: true,
            and: Some(span),
        }) = groups.last()
        {
            return Some(*span);
        }
    }
}
