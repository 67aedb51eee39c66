//! What a text says, before anybody asks what its names mean.

use std::fmt;

/// Where something stands in the text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of this one to the end of that one.
    pub(super) fn to(self, other: Self) -> Self {
        Self::new(self.start, other.end)
    }
}

/// An expression. Prints as a text that parses to the same expression.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    /// True if all are.
    And(Vec<Expression>),
    /// True if one is.
    Or(Vec<Expression>),
    /// A single comparison.
    Comparison(Comparison),
}

/// `left operator right`.
#[derive(Debug, Clone)]
pub(super) struct Comparison {
    pub(super) left: Operand,
    pub(super) operator: Operator,
    pub(super) right: Operand,
}

/// One side of a comparison, or an argument of a function.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) kind: OperandKind,
    pub(super) span: Span,
}

#[derive(Debug, Clone)]
pub(super) enum OperandKind {
    /// A field, a macro, or a word like `null`.
    Name(String),
    Number(f64),
    Text(String),
    Call(Call),
}

/// `name(arguments)`.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Vec<Operand>,
}

/// One of the 16 operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Operator {
    pub(super) sign: Sign,
    /// Whether it has a `?`: one of several values is enough.
    pub(super) any: bool,
}

/// An operator without its `?`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sign {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Like,
    NotLike,
}

impl Sign {
    pub(super) const ALL: [Self; 8] = [
        Self::Equal,
        Self::NotEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Like,
        Self::NotLike,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Like => "~",
            Self::NotLike => "!~",
        }
    }
}

impl Operator {
    /// The operator that is written so.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (any, plain) = match text.strip_prefix('?') {
            Some(plain) => (true, plain),
            None => (false, text),
        };
        let sign = Sign::ALL.into_iter().find(|sign| sign.as_str() == plain)?;
        Some(Self { sign, any })
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.any { "?" } else { "" };
        write!(f, "{mark}{}", self.sign.as_str())
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(parts) => write_joined(f, parts, " && "),
            Self::Or(parts) => write_joined(f, parts, " || "),
            Self::Comparison(Comparison {
                left,
                operator,
                right,
            }) => write!(f, "{left} {operator} {right}"),
        }
    }
}

/// Puts what is itself joined into parentheses, needed or not: so nobody has to know what binds tighter.
fn write_joined(f: &mut fmt::Formatter<'_>, parts: &[Expression], join: &str) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(join)?;
        }
        match part {
            Expression::Comparison(_) => write!(f, "{part}")?,
            Expression::And(_) | Expression::Or(_) => write!(f, "({part})")?,
        }
    }
    Ok(())
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Name(name) => f.write_str(name),
            // Rust prints numbers without exponents, as the language wants them.
            OperandKind::Number(number) => write!(f, "{number}"),
            OperandKind::Text(text) => write_text(f, text),
            OperandKind::Call(call) => write!(f, "{call}"),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (index, argument) in self.arguments.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{argument}")?;
        }
        f.write_str(")")
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}
