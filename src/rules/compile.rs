//! From an expression to a program: every name is looked up, once (contract, section 5.7).

use super::ast::{Call, Comparison, Expression, Operand, OperandKind, Operator, Sign};
use super::error::{Fault, Problem, nearest};
use super::functions::{Format, Modifier as TimeModifier};
use super::program::{
    Comparison as CompiledComparison, JOINS_MAX, Join, JoinSet, Needs, Node, Source, TimeCall,
};
use super::resolve::Names;
use super::value::Value;

/// Compiles expressions; keeps what they have in common.
pub(super) struct Compiler<'c> {
    names: Names<'c>,
    pub(super) joins: Vec<Join>,
    pub(super) needs: Needs,
}

impl<'c> Compiler<'c> {
    pub(super) fn new(names: Names<'c>) -> Self {
        Self {
            names,
            joins: Vec::new(),
            needs: Needs::default(),
        }
    }

    pub(super) fn node(&mut self, expression: &Expression) -> Result<Node, Fault> {
        Ok(match expression {
            Expression::And(parts) => {
                let (nodes, joins) = self.nodes(parts)?;
                Node::And(nodes, joins)
            }
            Expression::Or(parts) => {
                let (nodes, joins) = self.nodes(parts)?;
                Node::Or(nodes, joins)
            }
            Expression::Comparison(comparison) => Node::Comparison(self.comparison(comparison)?),
        })
    }

    fn nodes(&mut self, parts: &[Expression]) -> Result<(Vec<Node>, JoinSet), Fault> {
        let nodes: Vec<_> = parts
            .iter()
            .map(|part| self.node(part))
            .collect::<Result<_, _>>()?;
        let joins = nodes.iter().fold(0, |joins, node| joins | node.joins());
        Ok((nodes, joins))
    }

    fn comparison(&mut self, comparison: &Comparison) -> Result<CompiledComparison, Fault> {
        let Operator { sign, any } = comparison.operator;
        let right = &comparison.right;
        if let (Sign::Like | Sign::NotLike, OperandKind::Call(_)) = (sign, &right.kind) {
            return Err(Fault::new(right.span, Problem::FunctionAsPattern));
        }
        let left = self.operand(&comparison.left)?;
        let right = self.operand(right)?;
        let all_of = match any {
            true => [None, None],
            false => [strict_join(&left), strict_join(&right)],
        };
        Ok(CompiledComparison {
            joins: joins_in(&left) | joins_in(&right),
            all_of,
            left,
            operator: comparison.operator,
            right,
        })
    }

    fn operand(&mut self, operand: &Operand) -> Result<Source, Fault> {
        let source = match &operand.kind {
            OperandKind::Number(number) => Source::Constant(Value::Real(*number)),
            OperandKind::Text(text) => Source::Constant(Value::text(text.clone())),
            OperandKind::Name(name) => {
                let resolved = self.names.resolve(name, &mut self.joins);
                resolved.map_err(|problem| Fault::new(operand.span, problem))?
            }
            OperandKind::Call(call) => self.call(call, operand)?,
        };
        self.needs.add(&source);
        if let Source::Each(join) = source {
            match self.joins[join] {
                Join::Field(_) => self.needs.row = true,
                Join::Auth(_) => self.needs.auth = true,
            }
        }
        if self.joins.len() > JOINS_MAX {
            return Err(Fault::new(operand.span, Problem::TooManyEach(JOINS_MAX)));
        }
        Ok(source)
    }

    fn call(&mut self, call: &Call, operand: &Operand) -> Result<Source, Fault> {
        match call.name.as_str() {
            "geoDistance" => self.distance(call, operand),
            "strftime" => self.time(call, operand),
            unknown => {
                let nearest = nearest(unknown, ["geoDistance", "strftime"].into_iter());
                let name = unknown.to_owned();
                Err(Fault::new(
                    operand.span,
                    Problem::UnknownFunction { name, nearest },
                ))
            }
        }
    }

    fn distance(&mut self, call: &Call, operand: &Operand) -> Result<Source, Fault> {
        const FUNCTION: &str = "geoDistance";
        for argument in &call.arguments {
            if let OperandKind::Text(_) | OperandKind::Call(_) = argument.kind {
                let wants = "takes fields and numbers only";
                return Err(wrong(argument, FUNCTION, wants));
            }
        }
        let points: Vec<Source> = call
            .arguments
            .iter()
            .map(|argument| self.operand(argument))
            .collect::<Result<_, _>>()?;
        let wants = "takes four arguments: lonA, latA, lonB, latB";
        let points = points
            .try_into()
            .map_err(|_| wrong(operand, FUNCTION, wants))?;
        Ok(Source::Distance(Box::new(points)))
    }

    fn time(&mut self, call: &Call, operand: &Operand) -> Result<Source, Fault> {
        const ARGUMENTS_MAX: usize = 10;
        let [format, rest @ ..] = call.arguments.as_slice() else {
            return Err(wrong_time(operand, "takes a format, a time and modifiers"));
        };
        if rest.len() >= ARGUMENTS_MAX {
            return Err(wrong_time(operand, "takes ten arguments at most"));
        }
        let format = literal(format).and_then(Format::parse).ok_or_else(|| {
            wrong_time(format, "wants a quoted format of known conversions first")
        })?;
        let time = rest
            .first()
            .map(|time| self.time_argument(time))
            .transpose()?;
        let modifiers = rest.iter().skip(1).map(|argument| {
            literal(argument)
                .and_then(TimeModifier::parse)
                .ok_or_else(|| wrong_time(argument, "knows no such modifier"))
        });
        Ok(Source::Time(Box::new(TimeCall {
            format,
            time,
            modifiers: modifiers.collect::<Result<_, _>>()?,
        })))
    }

    fn time_argument(&mut self, argument: &Operand) -> Result<Source, Fault> {
        match argument.kind {
            OperandKind::Call(_) => Err(wrong_time(argument, "takes no call as its time")),
            _ => self.operand(argument),
        }
    }
}

fn wrong_time(argument: &Operand, wants: &'static str) -> Fault {
    wrong(argument, "strftime", wants)
}

fn wrong(argument: &Operand, function: &'static str, wants: &'static str) -> Fault {
    Fault::new(argument.span, Problem::Arguments { function, wants })
}

fn literal(operand: &Operand) -> Option<&str> {
    match &operand.kind {
        OperandKind::Text(text) => Some(text),
        _ => None,
    }
}

/// The joins that a value comes from.
fn joins_in(source: &Source) -> JoinSet {
    match source {
        Source::Each(join) => 1 << join,
        Source::Lower(inner) => joins_in(inner),
        Source::Distance(points) => points
            .iter()
            .fold(0, |joins, point| joins | joins_in(point)),
        Source::Time(call) => call.time.as_ref().map_or(0, joins_in),
        _ => 0,
    }
}

/// The join of which every item counts; a distance is content with one.
fn strict_join(source: &Source) -> Option<usize> {
    match source {
        Source::Each(join) => Some(*join),
        Source::Lower(inner) => strict_join(inner),
        Source::Time(call) => call.time.as_ref().and_then(strict_join),
        _ => None,
    }
}
