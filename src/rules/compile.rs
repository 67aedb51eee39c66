//! From an expression to a program: every name is looked up, once (contract, section 5.7).

use super::ast::{Call, Comparison, Expression, Operand, OperandKind, Operator, Sign};
use super::error::{Fault, Problem, nearest};
use super::functions::{Format, Modifier as TimeModifier};
use super::narrow::narrow;
use super::predicate::RuleUse;
use super::program::{
    Comparison as CompiledComparison, Home, JOINS_MAX, Join, JoinSet, Needs, Node, Source, TimeCall,
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
            Expression::Comparison(comparison) => self.comparison(comparison)?,
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

    fn comparison(&mut self, comparison: &Comparison) -> Result<Node, Fault> {
        let Operator { sign, any } = comparison.operator;
        let right = &comparison.right;
        if let (Sign::Like | Sign::NotLike, OperandKind::Call(_)) = (sign, &right.kind) {
            return Err(Fault::new(right.span, Problem::FunctionAsPattern));
        }
        let left = self.operand(&comparison.left)?;
        let right = self.operand(right)?;
        let all_of = match any {
            true => [0, 0],
            false => [self.strict_joins(&left), self.strict_joins(&right)],
        };
        let secrets = [self.email_flag(&left), self.email_flag(&right)];
        let compared = Node::Comparison(CompiledComparison {
            joins: self.joins_in(&left) | self.joins_in(&right),
            all_of,
            left,
            operator: comparison.operator,
            right,
            shown: secrets.clone().map(|secret| secret.map(Box::new)),
        });
        Ok(self.with_conditions(compared, secrets.into_iter().flatten()))
    }

    /// A filter learns nothing from an email that its owner does not show: what says whether it is
    /// shown (contract, section 4.6).
    fn email_flag(&self, source: &Source) -> Option<Source> {
        let (home, field) = match source {
            Source::Lower(inner) => return self.email_flag(inner),
            Source::Time(call) => return self.email_flag(call.time.as_ref()?),
            Source::Distance(points) => {
                return points.iter().find_map(|point| self.email_flag(point));
            }
            Source::Field(home, field) => (*home, field),
            _ => return None,
        };
        self.names.email_flag(home, field, &self.joins)
    }

    /// A node that holds only if these are true as well.
    fn with_conditions(&self, node: Node, flags: impl Iterator<Item = Source>) -> Node {
        let mut parts = vec![node];
        parts.extend(flags.map(|flag| {
            Node::Comparison(CompiledComparison {
                joins: self.joins_in(&flag),
                all_of: [0, 0],
                left: flag,
                operator: Operator {
                    sign: Sign::Equal,
                    any: true,
                },
                right: Source::Constant(Value::bool(true)),
                shown: [None, None],
            })
        }));
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let joins = parts.iter().fold(0, |joins, part| joins | part.joins());
        Node::And(parts, joins)
    }

    /// The whole program: of a filter, only rows that its author may list count.
    pub(super) fn program(&mut self, expression: &Expression) -> Result<Node, Fault> {
        let node = self.node(expression)?;
        self.needs.auth_collection = self.names.auth_paths.get();
        let mut parts = Vec::new();
        if self.names.usage != RuleUse::Rule {
            let rows = self.joins.iter().enumerate();
            let rows = rows.filter(|(_, join)| matches!(join, Join::Rows(_)));
            parts.extend(
                rows.map(|(index, _)| Node::Visible(index, self.chain(Home::Joined(index)))),
            );
        }
        narrow(&node, &mut self.joins, self.names.usage != RuleUse::Rule);
        if parts.is_empty() {
            return Ok(node);
        }
        // What costs least to refute comes first.
        parts.insert(0, node);
        let joins = parts.iter().fold(0, |joins, part| joins | part.joins());
        Ok(Node::And(parts, joins))
    }

    /// What is chosen on the way to a home.
    pub(super) fn chain(&self, home: Home) -> JoinSet {
        chain(&self.joins, home)
    }

    /// The joins that a value comes from.
    fn joins_in(&self, source: &Source) -> JoinSet {
        match source {
            Source::Each(join) => self.chain(Home::Joined(*join)),
            Source::Lower(inner) => self.joins_in(inner),
            Source::Distance(points) => points
                .iter()
                .fold(0, |joins, point| joins | self.joins_in(point)),
            Source::Time(call) => call.time.as_ref().map_or(0, |time| self.joins_in(time)),
            other => other.home().map_or(0, |home| self.chain(home)),
        }
    }

    /// The joins of which every item counts; a distance is content with one.
    fn strict_joins(&self, source: &Source) -> JoinSet {
        match source {
            Source::Distance(_) => 0,
            other => self.joins_in(other),
        }
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
        let Self { joins, needs, .. } = self;
        joins.iter().for_each(|join| needs.add_join(join));
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

/// What is chosen on the way to a home.
pub(super) fn chain(joins: &[Join], mut home: Home) -> JoinSet {
    let mut chosen = 0;
    while let Home::Joined(index) = home {
        let join = &joins[index];
        if !join.is_single() {
            chosen |= 1 << index;
        }
        home = join.home();
    }
    chosen
}
