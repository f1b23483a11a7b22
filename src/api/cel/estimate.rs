//! The most that an expression may cost, from the sizes its schemas allow.
//!
//! Which rules a custom resource may have depends on these numbers, so they are cel-go's and Kubernetes' exactly; `eval::charge` is the
//! counterpart with sizes that are known.

use std::collections::HashMap;
use std::sync::Arc;

use super::check::{Checked, Reference};
use super::declare::Declarations;
use super::schema::{DeclType, Kind};
use super::syntax::{Expr, Fold, Id, Literal};
use super::types::Type;

/// A range of sizes, or of costs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    min: u64,
    max: u64,
}

const UNKNOWN: Range = Range { min: 0, max: u64::MAX };
const TRAVERSAL: f64 = 0.1;
const PATTERN: f64 = 0.25;

impl Range {
    const fn fixed(value: u64) -> Range {
        Range { min: value, max: value }
    }

    fn add(self, other: Range) -> Range {
        Range { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    fn times(self, other: Range) -> Range {
        Range { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    fn scaled(self, factor: f64) -> Range {
        // Too large becomes the largest, as casts do.
        let scale = |value: u64| (value as f64 * factor).ceil() as u64;
        Range { min: scale(self.min), max: scale(self.max) }
    }

    fn union(self, other: Range) -> Range {
        Range { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// The sizes of what is in a list or a map.
#[derive(Clone, Copy, Debug)]
struct Entries {
    list: bool,
    key: Range,
    value: Range,
}

#[derive(Clone, Debug)]
struct Local<'c> {
    place: Option<&'c DeclType>,
    size: Option<Range>,
    entries: Option<Entries>,
}

/// The most the expression may cost.
pub(crate) fn estimate(checked: &Checked, declarations: &Declarations) -> u64 {
    let mut coster = Coster {
        checked,
        declarations,
        places: HashMap::new(),
        locals: Vec::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
    };
    coster.cost(checked.ast.root).max
}

struct Coster<'c> {
    checked: &'c Checked,
    declarations: &'c Declarations,
    /// Where in a schema the value of a node is.
    places: HashMap<Id, &'c DeclType>,
    locals: Vec<(Arc<str>, Local<'c>)>,
    sizes: HashMap<Id, Range>,
    entries: HashMap<Id, Entries>,
}

/// A value for the purpose of its size: a node, or the elements of one.
#[derive(Clone, Copy)]
struct Sized<'c> {
    computed: Option<Range>,
    place: Option<&'c DeclType>,
}

impl Sized<'_> {
    fn size(&self) -> Range {
        self.computed.or_else(|| self.place.map(size_of)).unwrap_or(UNKNOWN)
    }
}

fn size_of(place: &DeclType) -> Range {
    Range { min: 0, max: place.max_elements }
}

fn is_scalar(t: &Type) -> bool {
    match t {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        other => other.unwrap_optional().is_some_and(is_scalar),
    }
}

impl<'c> Coster<'c> {
    fn cost(&mut self, id: Id) -> Range {
        let checked = self.checked;
        if let Reference::Variable(_) | Reference::Type(_) = checked.reference(id)
            && let (Reference::Variable(_), Some(name)) = (checked.reference(id), checked.ast.qualified_name(id))
        {
            if let Some(place) = self.declarations.schema_of(&name) {
                self.places.insert(id, place);
            }
            return Range::fixed(1);
        }
        match checked.ast.expr(id) {
            Expr::Literal(_) => Range::fixed(0),
            Expr::Ident(name) => {
                if let Some(place) = self.local(name).and_then(|local| local.place) {
                    self.places.insert(id, place);
                }
                Range::fixed(1)
            }
            Expr::Select { operand, test: true, .. } => self.cost(*operand),
            Expr::Select { operand, field, test: false } => self.select(id, *operand, field),
            Expr::Call { function, target, args } => self.call(id, function, *target, args),
            Expr::List(elements) => {
                let values: Vec<Id> = elements.iter().map(|element| element.value).collect();
                let (cost, value) = self.contents(&values);
                self.entries.insert(id, Entries { list: true, key: Range::fixed(1), value });
                cost.add(Range::fixed(10))
            }
            Expr::Map(entries) => {
                let keys: Vec<Id> = entries.iter().map(|entry| entry.key).collect();
                let values: Vec<Id> = entries.iter().map(|entry| entry.value).collect();
                let (key_cost, key) = self.contents(&keys);
                let (value_cost, value) = self.contents(&values);
                self.entries.insert(id, Entries { list: false, key, value });
                key_cost.add(value_cost).add(Range::fixed(30))
            }
            Expr::Struct { fields, .. } => {
                let sum = fields.iter().map(|field| field.value).collect::<Vec<_>>();
                sum.into_iter().fold(Range::fixed(40), |sum, value| sum.add(self.cost(value)))
            }
            Expr::Fold(fold) => self.fold(id, fold),
        }
    }

    /// The cost of parts, and the range of their sizes.
    fn contents(&mut self, parts: &[Id]) -> (Range, Range) {
        let mut sizes = Range { min: if parts.is_empty() { 0 } else { u64::MAX }, max: 0 };
        let mut cost = Range::fixed(0);
        for part in parts {
            cost = cost.add(self.cost(*part));
            sizes = sizes.union(self.size_or_unknown(*part));
        }
        (cost, sizes)
    }

    fn local(&self, name: &str) -> Option<&Local<'c>> {
        self.locals.iter().rev().find(|(local, _)| &**local == name).map(|(_, local)| local)
    }

    fn local_at(&self, id: Id) -> Option<&Local<'c>> {
        match self.checked.ast.expr(id) {
            Expr::Ident(name) => self.local(name),
            _ => None,
        }
    }

    fn place(&self, id: Id) -> Option<&'c DeclType> {
        match self.local_at(id) {
            Some(local) => local.place,
            None => self.places.get(&id).copied(),
        }
    }

    fn select(&mut self, id: Id, operand: Id, field: &str) -> Range {
        let cost = self.cost(operand);
        let found = self.place(operand).and_then(|place| match &place.kind {
            Kind::Object { fields, .. } => fields.get(field).map(|field| &**field),
            // One attribute is as large as another.
            Kind::Map { values, .. } if matches!(values.kind, Kind::Attribute) => Some(&**values),
            _ => None,
        });
        if let Some(found) = found {
            self.places.insert(id, found);
        }
        match self.checked.type_of(operand) {
            Type::Map(..) | Type::Struct(_) | Type::Param(_) => cost.add(Range::fixed(1)),
            _ => cost,
        }
    }

    fn call(&mut self, id: Id, function: &str, target: Option<Id>, args: &[Id]) -> Range {
        if function == "dyn" {
            let cost = self.cost(args[0]);
            if let Some(size) = self.size(args[0]) {
                self.sizes.insert(id, size);
            }
            if let Some(entries) = self.entries_of(args[0]) {
                self.entries.insert(id, entries);
            }
            return cost.add(Range::fixed(1));
        }
        let costs: Vec<Range> = args.iter().map(|arg| self.cost(*arg)).collect();
        let Reference::Function(call) = self.checked.reference(id) else { return Range::fixed(0) };
        let target = target.filter(|_| !call.qualified);
        let target_cost = target.map_or(Range::fixed(0), |target| self.cost(target));
        let mut cost = Range { min: u64::MAX, max: 0 };
        let mut result: Option<Range> = None;
        for overload in &call.overloads {
            let (own, size) = self.function(id, &call.name, overload, target, args, &costs);
            cost = cost.union(own);
            if let Some(size) = size {
                result = Some(result.map_or(size, |result| result.union(size)));
            }
            if matches!(*overload, "index_list" | "index_map") {
                result = self.entries_of(args[0]).map(|entries| entries.value);
                if let Some(element) = self.place(args[0]).and_then(DeclType::element) {
                    self.places.insert(id, element);
                }
            }
            result = result.or_else(|| self.size(id));
        }
        if let Some(result) = result {
            self.sizes.insert(id, result);
        }
        target_cost.add(cost)
    }

    fn sized(&mut self, id: Id) -> Sized<'c> {
        Sized { computed: self.size(id), place: self.place(id) }
    }

    /// The cost of a call by one overload, its arguments included, and the size of its result.
    fn function(
        &mut self,
        id: Id,
        name: &str,
        overload: &str,
        target: Option<Id>,
        args: &[Id],
        costs: &[Range],
    ) -> (Range, Option<Range>) {
        let sum = costs.iter().fold(Range::fixed(0), |sum, cost| sum.add(*cost));
        let target_value = target.map(|target| self.sized(target));
        let values: Vec<Sized<'c>> = args.iter().map(|arg| self.sized(*arg)).collect();
        let extension = self.extension(overload, target_value, args, &values);
        if let Some((cost, result)) =
            extension.or_else(|| self.kubernetes(name, overload, target, target_value, args, &values))
        {
            return (cost.add(sum), result);
        }
        let size = |value: &Sized<'c>| value.computed.unwrap_or(UNKNOWN);
        match (overload, target_value, &values[..]) {
            ("string_format", Some(target), _) => (size(&target).scaled(TRAVERSAL).add(sum), None),
            ("string_to_bytes", _, [arg]) => {
                let size = size(arg);
                (size.scaled(TRAVERSAL).add(sum), Some(Range { min: size.min, max: size.max.wrapping_mul(4) }))
            }
            ("bytes_to_string", _, [arg]) => {
                let size = size(arg);
                (size.scaled(TRAVERSAL).add(sum), Some(Range { min: size.min / 4, max: size.max }))
            }
            ("strings_quote", _, [arg]) => {
                let size = size(arg);
                let result = Range { min: size.min.wrapping_add(2), max: size.max.wrapping_mul(2).wrapping_add(2) };
                (size.scaled(TRAVERSAL).add(sum), Some(result))
            }
            ("starts_with_string" | "ends_with_string", _, [arg]) => (size(arg).scaled(TRAVERSAL).add(sum), None),
            ("in_list", _, [_, list]) => (size(list).add(sum), None),
            ("matches_string", Some(target), [pattern]) => {
                let text = size(&target).add(Range::fixed(1)).scaled(TRAVERSAL);
                (text.times(size(pattern).scaled(PATTERN)).add(sum), None)
            }
            ("contains_string", Some(target), [part]) => {
                (size(&target).scaled(TRAVERSAL).times(size(part).scaled(TRAVERSAL)).add(sum), None)
            }
            ("logical_or" | "logical_and", _, _) => {
                (Range { min: costs[0].min, max: costs[0].add(costs[1]).max }, None)
            }
            ("conditional", _, [_, then, otherwise]) => {
                let entries = self.entries_of(args[1]).zip(self.entries_of(args[2]));
                if let Some((a, b)) = entries {
                    self.entries
                        .insert(id, Entries { list: a.list, key: a.key.union(b.key), value: a.value.union(b.value) });
                }
                (costs[0].add(costs[1].union(costs[2])), Some(size(then).union(size(otherwise))))
            }
            ("add_string" | "add_bytes" | "add_list", _, [a, b]) => {
                let result = size(a).add(size(b));
                if let Some((a, b)) = self.entries_of(args[0]).zip(self.entries_of(args[1])) {
                    self.entries
                        .insert(id, Entries { list: a.list, key: a.key.union(b.key), value: a.value.union(b.value) });
                }
                let own = if overload == "add_list" { Range::fixed(1) } else { result.scaled(TRAVERSAL) };
                (own.add(sum), Some(result))
            }
            (
                "less_string"
                | "greater_string"
                | "less_equals_string"
                | "greater_equals_string"
                | "less_bytes"
                | "greater_bytes"
                | "less_equals_bytes"
                | "greater_equals_bytes"
                | "equals"
                | "not_equals",
                _,
                [a, b],
            ) => {
                let max = size(a).max.min(size(b).max);
                (Range { min: u64::from(max > 0), max }.scaled(TRAVERSAL).add(sum), None)
            }
            _ => (Range::fixed(1).add(sum), None),
        }
    }

    /// The extension libraries: sets and lists.
    fn extension(
        &mut self,
        overload: &str,
        target: Option<Sized<'c>>,
        args: &[Id],
        values: &[Sized<'c>],
    ) -> Option<(Range, Option<Range>)> {
        let allocating = |factor: f64, size: Range| (size.scaled(factor).add(Range::fixed(11)), Some(size));
        let factor = match overload {
            "list_sets_contains_list" | "list_sets_intersects_list" => 1.0,
            "list_sets_equivalent_list" => 2.0,
            "list_slice" => {
                let end = self.int(args[1], target?.size().max);
                return Some(allocating(1.0, Range::fixed(end.wrapping_sub(self.int(args[0], 0)))));
            }
            "lists_range" => return Some(allocating(1.0, Range::fixed(self.int(args[0], u64::MAX)))),
            "list_reverse" => return Some(allocating(1.0, target?.size())),
            "list_flatten" => return Some(allocating(1.0, target?.size())),
            "list_flatten_int" => return Some(allocating(self.int(args[0], u64::MAX) as f64, target?.size())),
            "list_distinct" => return Some(allocating(2.0, target?.size().times(target?.size()))),
            other => {
                let sized = match other.strip_prefix("list_")?.split_once('_')? {
                    (_, "sort") => target?.size(),
                    (_, "sortByAssociatedKeys") => values.first()?.size(),
                    _ => return None,
                };
                let text = other.starts_with("list_string_") || other.starts_with("list_bytes_");
                return Some(allocating(if text { 2.1 } else { 2.0 }, sized.times(sized)));
            }
        };
        let [a, b] = values else { return None };
        Some((a.size().times(b.size()).scaled(factor).add(Range::fixed(1)), None))
    }

    fn int(&self, id: Id, otherwise: u64) -> u64 {
        match self.checked.ast.expr(id) {
            Expr::Literal(Literal::Int(value)) => u64::try_from(*value).unwrap_or(0),
            _ => otherwise,
        }
    }

    /// Kubernetes' own libraries.
    fn kubernetes(
        &mut self,
        name: &str,
        overload: &str,
        target: Option<Id>,
        target_value: Option<Sized<'c>>,
        args: &[Id],
        values: &[Sized<'c>],
    ) -> Option<(Range, Option<Range>)> {
        let plain = |cost: Range| Some((cost, None));
        let arg = |index: usize| values.get(index).map(Sized::size);
        match name {
            "check" => plain(Range::fixed(350_000)),
            "serviceAccount"
            | "path"
            | "group"
            | "resource"
            | "subresource"
            | "namespace"
            | "name"
            | "allowed"
            | "reason"
            | "error"
            | "errored"
            | "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "format.named"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery" => plain(Range::fixed(1)),
            "fieldSelector" | "labelSelector" => {
                let length = arg(0)?;
                plain(Range::fixed(10).add(length.scaled(TRAVERSAL)).add(length.scaled(0.5).scaled(50.0)))
            }
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
                let size = target_value?.size();
                let Some((element, item)) = self.elements(target?) else { return plain(size.scaled(TRAVERSAL)) };
                let texts = matches!(item, Type::String | Type::Bytes);
                let each = if texts { Range::fixed(1).add(element.size().scaled(TRAVERSAL)) } else { Range::fixed(1) };
                plain(size.times(each))
            }
            "url" | "jsonpatch.escapeKey" => {
                let size = arg(0)?;
                Some((size.scaled(TRAVERSAL), Some(size)))
            }
            "lowerAscii" | "upperAscii" | "substring" | "trim" => {
                let size = target_value?.size();
                Some((size.scaled(TRAVERSAL), Some(size)))
            }
            "replace" => {
                let (size, result) = (target_value?.size(), replaced(target_value?.size(), arg(0)?, arg(1)?));
                Some((size.scaled(2.0 * TRAVERSAL), Some(result)))
            }
            "split" => {
                let size = target_value?.size();
                let max = args.get(1).map_or(size.max, |limit| match self.checked.ast.expr(*limit) {
                    Expr::Literal(Literal::Int(limit)) => *limit as u64,
                    _ => size.max,
                });
                Some((size.scaled(2.0 * TRAVERSAL), Some(Range { min: 0, max })))
            }
            "join" => {
                let list = target_value?.size();
                let mut size = match self.elements(target?) {
                    Some((element, _)) => list.times(element.size()),
                    None => Range::fixed(0),
                };
                if let Some(separator) = arg(0) {
                    size = size.add(
                        separator.times(Range { min: list.min.saturating_sub(1), max: list.max.saturating_sub(1) }),
                    );
                }
                Some((size.scaled(TRAVERSAL), Some(size)))
            }
            "find" | "findAll" => {
                let size = target_value?.size();
                let cost = size.add(Range::fixed(1)).scaled(TRAVERSAL).times(arg(0)?.scaled(PATTERN));
                Some((cost, Some(Range { min: 0, max: size.max })))
            }
            "ip" if overload == "cidr_ip" => plain(Range::fixed(1)),
            "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
                plain(arg(0)?.scaled(TRAVERSAL))
            }
            "ip.isCanonical" => plain(arg(0)?.scaled(2.0 * TRAVERSAL)),
            "containsIP" | "containsCIDR" => {
                let address = Range { min: 4, max: 16 };
                let mut cost = address.add(address).scaled(TRAVERSAL);
                if name == "containsCIDR" {
                    cost = cost.add(address.scaled(TRAVERSAL)).add(Range::fixed(1));
                }
                if matches!(overload, "cidr_contains_ip_string" | "cidr_contains_cidr_string") {
                    cost = cost.add(arg(0)?.scaled(TRAVERSAL));
                }
                plain(cost)
            }
            "validate" => plain(arg(0)?.scaled(TRAVERSAL).scaled(128.0 * PATTERN)),
            "_==_" => self.equality(args, values),
            _ => None,
        }
    }

    fn equality(&self, args: &[Id], values: &[Sized<'c>]) -> Option<(Range, Option<Range>)> {
        let (a, b) = (self.checked.type_of(*args.first()?), self.checked.type_of(*args.get(1)?));
        if a != b {
            return None;
        }
        let cost = match a {
            Type::Opaque(name, _) if matches!(&**name, "net.IP" | "net.CIDR") => Range::fixed(1),
            Type::Struct(name) => match &**name {
                "kubernetes.Quantity" | "kubernetes.Semver" => Range::fixed(1),
                other if other.starts_with("kubernetes.authorization.") => Range::fixed(1),
                "kubernetes.NamedFormat" => Range { min: 1, max: 64 }.scaled(TRAVERSAL),
                "kubernetes.URL" => {
                    Range { min: 1, max: values[1].computed.map_or(1, |size| size.max) }.scaled(TRAVERSAL)
                }
                _ => return None,
            },
            _ => return None,
        };
        Some((cost, None))
    }

    /// The elements of a list, where the value is one.
    fn elements(&self, list: Id) -> Option<(Sized<'c>, Type)> {
        let item = match self.checked.type_of(list) {
            Type::List(item) => (**item).clone(),
            Type::Map(key, _) => (**key).clone(),
            Type::Opaque(_, params) => params.first()?.clone(),
            _ => return None,
        };
        let place = self.place(list).and_then(DeclType::element).map(|element| &**element);
        Some((Sized { computed: None, place }, item))
    }

    fn size_or_unknown(&mut self, id: Id) -> Range {
        self.size(id).unwrap_or(UNKNOWN)
    }

    fn size(&mut self, id: Id) -> Option<Range> {
        if let Some(size) = self.sizes.get(&id) {
            return Some(*size);
        }
        match self.checked.ast.expr(id) {
            Expr::Literal(Literal::String(text)) => return Some(Range::fixed(text.chars().count() as u64)),
            Expr::Literal(Literal::Bytes(bytes)) => return Some(Range::fixed(bytes.len() as u64)),
            Expr::Literal(_) => return Some(Range::fixed(1)),
            Expr::List(elements) => return Some(Range::fixed(elements.len() as u64)),
            Expr::Map(entries) => return Some(Range::fixed(entries.len() as u64)),
            _ => {}
        }
        if let Some(place) = self.place(id) {
            let size = size_of(place);
            self.sizes.insert(id, size);
            return Some(size);
        }
        if is_scalar(self.checked.type_of(id)) {
            return Some(Range::fixed(1));
        }
        self.local_at(id).and_then(|local| local.size)
    }

    fn entries_of(&self, id: Id) -> Option<Entries> {
        self.entries.get(&id).copied().or_else(|| self.local_at(id).and_then(|local| local.entries))
    }

    fn fold(&mut self, id: Id, fold: &Fold) -> Range {
        let ast = &self.checked.ast;
        let binds = matches!(ast.expr(fold.range), Expr::List(elements) if elements.is_empty())
            && matches!(ast.expr(fold.condition), Expr::Literal(Literal::Bool(false)));
        let mut sum = self.cost(fold.range).add(self.cost(fold.init));
        let outside = self.locals.len();
        let bound =
            Local { place: self.place(fold.init), size: self.size(fold.init), entries: self.entries_of(fold.init) };
        self.locals.push((fold.accumulator.clone(), bound));
        if binds {
            sum = sum.add(self.cost(fold.result));
            let (size, entries) = (self.size(fold.result), self.entries_of(fold.result));
            self.locals.truncate(outside);
            size.map(|size| self.sizes.insert(id, size));
            entries.map(|entries| self.entries.insert(id, entries));
            return sum;
        }
        let entries = self.entries_of(fold.range);
        let list = entries.map_or(matches!(self.checked.type_of(fold.range), Type::List(_)), |entries| entries.list);
        let place = self.place(fold.range);
        let element = place.and_then(DeclType::element).map(|element| &**element);
        // Keys are texts of any length, indexes have no place.
        let key =
            Local { place: None, size: entries.map(|entries| entries.key).or_else(|| key_size(place)), entries: None };
        let value = Local { place: element, size: entries.map(|entries| entries.value), entries: None };
        match &fold.var2 {
            Some(var2) => {
                self.locals.push((fold.var.clone(), key));
                self.locals.push((var2.clone(), value));
            }
            None => self.locals.push((fold.var.clone(), if list { value } else { key })),
        }
        let condition = self.cost(fold.condition);
        let step = self.cost(fold.step);
        self.locals.truncate(outside + 1);
        sum = sum.add(self.cost(fold.result));
        self.locals.truncate(outside);
        let count = self.size_or_unknown(fold.range);
        sum = sum.add(count.times(step.add(condition)));
        match self.checked.ast.expr(fold.init) {
            Expr::Literal(_) => {
                let size = self.size(fold.init);
                size.map(|size| self.sizes.insert(id, size));
            }
            Expr::List(_) | Expr::Map(_) => {
                self.sizes.insert(id, count);
                let entries = self.entries_of(fold.step);
                entries.map(|entries| self.entries.insert(id, entries));
            }
            _ => {}
        }
        sum
    }
}

/// Keys of a map with a schema are texts; those of custom resources have no bound of their own.
fn key_size(place: Option<&DeclType>) -> Option<Range> {
    match place?.kind {
        Kind::Map { keys, .. } => Some(Range { min: 0, max: keys }),
        _ => None,
    }
}

/// The size of a text after its parts were replaced.
fn replaced(size: Range, old: Range, new: Range) -> Range {
    let share = |of: u64, part: u64| (of as f64 / part as f64).ceil() as u64;
    let (max_count, max_kept) = if old.min == 0 {
        (size.max.saturating_add(1), size.max)
    } else if new.max <= old.min {
        (0, size.max)
    } else {
        (share(size.max, old.min), 0)
    };
    let (min_count, min_kept) = if old.max == 0 {
        (size.min.saturating_add(1), size.min)
    } else if old.max <= new.min {
        (0, size.min)
    } else {
        (share(size.min, old.max), 0)
    };
    Range { min: min_count, max: max_count }.times(new).add(Range { min: min_kept, max: max_kept })
}
