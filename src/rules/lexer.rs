//! Text into tokens (contract, section 5.2).

use super::ast::{Operator, Span};
use super::error::{Fault, Problem};
use super::text;

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    Name(String),
    Number(f64),
    Text(String),
    Operator(Operator),
    And,
    Or,
    Open,
    Close,
    /// A name and the parenthesis that follows it at once.
    CallOpen(String),
    Comma,
    /// Nothing is left.
    End,
}

/// Reads a text token by token.
#[derive(Debug)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// How many parentheses are open.
    open: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            open: 0,
        }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token, Fault> {
        self.skip_blanks()?;
        let start = self.at;
        let kind = match self.rest().chars().next() {
            None => TokenKind::End,
            Some(first) => self.token(first)?,
        };
        Ok(Token {
            kind,
            span: Span::new(start, self.at),
        })
    }

    fn token(&mut self, first: char) -> Result<TokenKind, Fault> {
        match first {
            '(' | ')' | ',' => Ok(self.mark(first)),
            '\'' | '"' => self.quoted(),
            '=' | '?' | '!' | '<' | '>' | '~' => self.operator(),
            '&' | '|' => self.join(),
            '-' | '0'..='9' => self.number(),
            'A'..='Z' | 'a'..='z' | '_' | '@' | '#' => self.name(),
            other => Err(self.fault(self.at + other.len_utf8(), Problem::Character(other))),
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Something is wrong from here to `end`.
    fn fault(&self, end: usize, problem: Problem) -> Fault {
        Fault::new(Span::new(self.at, end), problem)
    }

    /// Takes all that `belongs`, which must be ASCII.
    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> &'t str {
        let rest = self.rest();
        let len = rest.bytes().take_while(|&byte| belongs(byte)).count();
        self.at += len;
        &rest[..len]
    }

    fn skip_blanks(&mut self) -> Result<(), Fault> {
        loop {
            self.run(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
            if !self.rest().starts_with("//") {
                return Ok(());
            }
            self.comment()?;
        }
    }

    /// PocketBase finds the end of a group before it looks for comments, so that the same text would
    /// mean something else there.
    fn comment(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let len = rest.find('\n').unwrap_or(rest.len());
        if self.open > 0 && rest[..len].contains(['(', ')', '\'', '"']) {
            return Err(self.fault(self.at + len, Problem::CommentInGroup));
        }
        self.at += len;
        Ok(())
    }

    fn mark(&mut self, mark: char) -> TokenKind {
        self.at += 1;
        match mark {
            '(' => {
                self.open += 1;
                TokenKind::Open
            }
            ')' => {
                self.open = self.open.saturating_sub(1);
                TokenKind::Close
            }
            _ => TokenKind::Comma,
        }
    }

    fn quoted(&mut self) -> Result<TokenKind, Fault> {
        let rest = self.rest();
        let len =
            text::quoted_len(rest).ok_or_else(|| self.fault(self.text.len(), Problem::OpenText))?;
        let inner = &rest[1..len - 1];
        let value = text::unescape(inner).map_err(|problem| self.fault(self.at + len, problem))?;
        self.at += len;
        Ok(TokenKind::Text(value))
    }

    fn operator(&mut self) -> Result<TokenKind, Fault> {
        let start = self.at;
        let run = self.run(|byte| b"=?!<>~".contains(&byte));
        let operator = Operator::parse(run);
        let problem = || Problem::Operator(shortened(run));
        let fault = || Fault::new(Span::new(start, self.at), problem());
        operator.map(TokenKind::Operator).ok_or_else(fault)
    }

    fn join(&mut self) -> Result<TokenKind, Fault> {
        let start = self.at;
        let run = self.run(|byte| b"&|".contains(&byte));
        match run {
            "&&" => Ok(TokenKind::And),
            "||" => Ok(TokenKind::Or),
            _ => {
                let span = Span::new(start, self.at);
                Err(Fault::new(span, Problem::Join(shortened(run))))
            }
        }
    }

    fn number(&mut self) -> Result<TokenKind, Fault> {
        let start = self.at;
        self.at += usize::from(self.rest().starts_with('-'));
        // All that could be meant as part of the number, so that `1e2` is not two tokens.
        self.run(|byte| is_name_byte(byte) || matches!(byte, b'@' | b'#' | b'-'));
        let span = Span::new(start, self.at);
        let written = &self.text[start..self.at];
        let number = written
            .parse()
            .ok()
            .filter(|_| is_number(written))
            .ok_or_else(|| Fault::new(span, Problem::Number(shortened(written))))?;
        if !f64::is_finite(number) {
            return Err(Fault::new(span, Problem::NumberRange));
        }
        Ok(TokenKind::Number(number))
    }

    fn name(&mut self) -> Result<TokenKind, Fault> {
        let start = self.at;
        self.at += 1;
        self.run(is_name_byte);
        let name = &self.text[start..self.at];
        if name.ends_with(['.', ':']) || matches!(name, "@" | "_" | "#") {
            let span = Span::new(start, self.at);
            return Err(Fault::new(span, Problem::Name(shortened(name))));
        }
        if self.rest().starts_with('(') {
            self.at += 1;
            self.open += 1;
            return Ok(TokenKind::CallOpen(name.to_owned()));
        }
        Ok(TokenKind::Name(name.to_owned()))
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':')
}

/// Digits, with at most one dot among them.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    all_digits(whole) && all_digits(fraction)
}

/// For messages: what is wrong may be a megabyte long.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
