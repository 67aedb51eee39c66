//! Tokens into an expression (contract, section 5.3): `&&` binds tighter than `||`.
//!
//! Where PocketBase guesses, as at `(a = 1)(b = 2)`, this refuses.

use super::ast::{Call, Comparison, Expression, Operand, OperandKind, Span};
use super::error::{Fault, Problem};
use super::lexer::{Lexer, Token, TokenKind};

/// Longer texts are not looked at.
pub(super) const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Comparisons in one expression, as in PocketBase.
pub(super) const COMPARISONS_MAX: usize = 200;
/// Parentheses inside one another.
pub(super) const NESTING_MAX: usize = 100;
/// Function calls inside one another, as in PocketBase.
pub(super) const CALL_NESTING_MAX: usize = 3;
/// Arguments of one call, far more than any function takes.
const ARGUMENTS_MAX: usize = 32;

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<Expression, Fault> {
    if text.len() > TEXT_BYTES_MAX {
        let problem = Problem::TooLong { bytes: text.len() };
        return Err(Fault::new(Span::default(), problem));
    }
    let mut parser = Parser::new(text)?;
    if parser.token.kind == TokenKind::End {
        return Err(parser.fault(Problem::Empty));
    }
    let expression = parser.any_of(0)?;
    match parser.token.kind {
        TokenKind::End => Ok(expression),
        TokenKind::Close => Err(parser.fault(Problem::StrayClose)),
        _ => Err(parser.fault(Problem::Expected("&& or ||"))),
    }
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The token that is looked at and not yet taken.
    token: Token,
    comparisons: usize,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Result<Self, Fault> {
        let mut lexer = Lexer::new(text);
        let token = lexer.next()?;
        Ok(Self {
            lexer,
            token,
            comparisons: 0,
        })
    }

    /// The token is not what may stand here.
    fn fault(&self, problem: Problem) -> Fault {
        Fault::new(self.token.span, problem)
    }

    fn take(&mut self) -> Result<Token, Fault> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn take_if(&mut self, kind: &TokenKind) -> Result<bool, Fault> {
        let found = self.token.kind == *kind;
        if found {
            self.take()?;
        }
        Ok(found)
    }

    fn any_of(&mut self, depth: usize) -> Result<Expression, Fault> {
        let mut parts = vec![self.all_of(depth)?];
        while self.take_if(&TokenKind::Or)? {
            parts.push(self.all_of(depth)?);
        }
        Ok(joined(parts, Expression::Or))
    }

    fn all_of(&mut self, depth: usize) -> Result<Expression, Fault> {
        let mut parts = vec![self.group_or_comparison(depth)?];
        while self.take_if(&TokenKind::And)? {
            parts.push(self.group_or_comparison(depth)?);
        }
        Ok(joined(parts, Expression::And))
    }

    fn group_or_comparison(&mut self, depth: usize) -> Result<Expression, Fault> {
        if self.token.kind != TokenKind::Open {
            return self.comparison().map(Expression::Comparison);
        }
        if depth == NESTING_MAX {
            return Err(self.fault(Problem::TooDeep));
        }
        let open = self.take()?;
        if self.token.kind == TokenKind::Close {
            let span = open.span.to(self.token.span);
            return Err(Fault::new(span, Problem::EmptyGroup));
        }
        let inner = self.any_of(depth + 1)?;
        match self.token.kind {
            TokenKind::Close => self.take().map(|_| inner),
            TokenKind::End => Err(Fault::new(open.span, Problem::OpenGroup)),
            _ => Err(self.fault(Problem::Expected("&&, || or )"))),
        }
    }

    fn comparison(&mut self) -> Result<Comparison, Fault> {
        let left = self.operand(0)?;
        let TokenKind::Operator(operator) = self.token.kind else {
            return Err(self.fault(Problem::Expected("an operator such as = or ~")));
        };
        self.take()?;
        let right = self.operand(0)?;
        self.comparisons += 1;
        if self.comparisons > COMPARISONS_MAX {
            let span = left.span.to(right.span);
            return Err(Fault::new(span, Problem::TooManyComparisons));
        }
        Ok(Comparison {
            left,
            operator,
            right,
        })
    }

    fn operand(&mut self, calls: usize) -> Result<Operand, Fault> {
        const EXPECTED: Problem = Problem::Expected("a field, a text or a number");
        match self.token.kind {
            TokenKind::Name(_)
            | TokenKind::Number(_)
            | TokenKind::Text(_)
            | TokenKind::CallOpen(_) => {}
            _ => return Err(self.fault(EXPECTED)),
        }
        let Token { kind, span } = self.take()?;
        let plain = |kind| Ok(Operand { kind, span });
        match kind {
            TokenKind::Name(name) => plain(OperandKind::Name(name)),
            TokenKind::Number(number) => plain(OperandKind::Number(number)),
            TokenKind::Text(text) => plain(OperandKind::Text(text)),
            TokenKind::CallOpen(name) => self.call(name, span, calls),
            _ => Err(Fault::new(span, EXPECTED)),
        }
    }

    /// The rest of a call whose parenthesis is open.
    fn call(&mut self, name: String, open: Span, calls: usize) -> Result<Operand, Fault> {
        if calls == CALL_NESTING_MAX {
            return Err(Fault::new(open, Problem::CallsTooDeep));
        }
        let mut arguments = Vec::new();
        while self.token.kind != TokenKind::Close {
            if arguments.len() == ARGUMENTS_MAX {
                return Err(self.fault(Problem::TooManyArguments));
            }
            arguments.push(self.operand(calls + 1)?);
            if !self.take_if(&TokenKind::Comma)? && self.token.kind != TokenKind::Close {
                return Err(self.fault(Problem::Expected(", or )")));
            }
        }
        let close = self.take()?;
        Ok(Operand {
            kind: OperandKind::Call(Call { name, arguments }),
            span: open.to(close.span),
        })
    }
}

fn joined(
    mut parts: Vec<Expression>,
    join: impl FnOnce(Vec<Expression>) -> Expression,
) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => join(parts),
    }
}
