//! The messages of Kubernetes' protobuf encoding, read from the text of `messages.txt`.

use std::{collections::HashMap, sync::LazyLock};

use super::special::Special;

/// What one value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Boolean,
    Integer,
    Double,
    Bytes,
    Special(Special),
    Message(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    List,
    Map,
    /// The fields of the message stand in the one around it.
    Inline,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) of: Type,
}

/// How a message is written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Form {
    #[default]
    Object,
    /// As the list it holds.
    List,
    /// As whichever of its fields is set; the JSON's type tells which one that is.
    Either,
    /// As [`Form::Either`], where fields have conditions instead of names.
    Choice,
}

/// Where the field of a JSON name stands: in a message, and that in the inlined messages around it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: String,
    /// Numbers of the inlined messages, the outermost first.
    pub(super) within: Vec<u32>,
    pub(super) message: usize,
    /// Its index among the fields of that message.
    pub(super) field: usize,
}

/// A name is looked up once for every field that is encoded, so a message's names are hashed.
const SLOTS: usize = 32;

fn slot(name: &str) -> usize {
    let ends = name.as_bytes().first().zip(name.as_bytes().last());
    let (first, last) = ends.map_or((0, 0), |(first, last)| (usize::from(*first), usize::from(*last)));
    (name.len() + first * 3 + last * 5) % SLOTS
}

#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) form: Form,
    /// By number.
    pub(super) fields: Vec<Field>,
    /// Those of inlined messages, too, in the order of their [`slot`]s.
    places: Vec<Place>,
    /// Where the places of a slot end.
    ends: [u8; SLOTS],
    /// What holds the members whose names begin with `x-`, and those of any other name.
    extensions: Option<usize>,
    rest: Option<usize>,
}

impl Message {
    pub(super) fn by_number(&self, number: u32) -> Option<&Field> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok().map(|at| &self.fields[at])
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Place> {
        let slot = slot(name);
        let begin = slot.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.places[usize::from(begin)..usize::from(self.ends[slot])].iter().find(|place| place.name == name)
    }

    pub(super) fn is_list_of_messages(&self) -> bool {
        self.form == Form::List && matches!(self.fields.first(), Some(Field { of: Type::Message(_), .. }))
    }

    /// The field that holds members of names the table does not know.
    pub(super) fn other(&self, name: &str) -> Option<&Field> {
        let extension = self.extensions.filter(|_| name.starts_with("x-"));
        extension.or(self.rest).map(|at| &self.fields[at])
    }

    /// The field that a value of this form is, of a message that is one of several.
    pub(super) fn alternative(&self, wanted: impl Fn(&Field) -> bool) -> Option<&Field> {
        self.fields.iter().find(|field| wanted(field))
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    kinds: HashMap<(String, String), usize>,
    names: HashMap<String, usize>,
    messages: Vec<Message>,
}

pub(super) static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::read(concat!(include_str!("messages.txt"), include_str!("openapi.txt"))));

impl Table {
    /// The message of a kind.
    pub(super) fn kind(&self, api_version: &str, kind: &str) -> Option<usize> {
        // The options of a deletion belong to every group.
        let home = if kind == "DeleteOptions" { "v1" } else { api_version };
        self.kinds.get(&(home.to_owned(), kind.to_owned())).copied()
    }

    /// The message of a name that the table surely has.
    pub(super) fn named(&self, name: &str) -> usize {
        *self.names.get(name).expect("the table names it")
    }

    pub(super) fn message(&self, id: usize) -> &Message {
        &self.messages[id]
    }

    fn read(text: &str) -> Table {
        let rows = || text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let heads = rows().filter(|line| !line.starts_with('@')).filter_map(|line| line.split(' ').next());
        let names: HashMap<String, usize> =
            heads.enumerate().map(|(id, name)| (name.trim_start_matches(['=', '|', '?']).to_owned(), id)).collect();
        let mut table = Table { names, ..Table::default() };
        for row in rows() {
            let mut words = row.split(' ');
            let head = words.next().unwrap_or_default();
            if let Some(api_version) = head.strip_prefix('@') {
                let kind = words.next().unwrap_or_default();
                let id = table.names[words.next().unwrap_or_default()];
                table.kinds.insert((api_version.to_owned(), kind.to_owned()), id);
                continue;
            }
            let form = match head.as_bytes().first() {
                Some(b'=') => Form::List,
                Some(b'|') => Form::Either,
                Some(b'?') => Form::Choice,
                _ => Form::Object,
            };
            let mut fields: Vec<Field> = words.filter_map(|word| Field::read(word, &table.names)).collect();
            fields.sort_by_key(|field| field.number);
            let at = |name: &str| fields.iter().position(|field| field.name == name);
            let (extensions, rest) = (at("x-*"), at("*"));
            table.messages.push(Message { form, fields, extensions, rest, ..Message::default() });
        }
        for id in 0..table.messages.len() {
            let mut places = Vec::new();
            table.place(id, &[], &mut places);
            places.sort_by_key(|place| slot(&place.name));
            for place in &places {
                table.messages[id].ends[slot(&place.name)..].iter_mut().for_each(|end| *end += 1);
            }
            table.messages[id].places = places;
        }
        table
    }

    fn place(&self, id: usize, within: &[u32], places: &mut Vec<Place>) {
        for (at, field) in self.messages[id].fields.iter().enumerate() {
            match (field.shape, field.of) {
                (Shape::Inline, Type::Message(inner)) => {
                    self.place(inner, &[within, &[field.number]].concat(), places);
                }
                _ if matches!(&*field.name, "*" | "x-*") => {}
                _ => places.push(Place { name: field.name.clone(), within: within.to_vec(), message: id, field: at }),
            }
        }
    }
}

impl Field {
    fn read(word: &str, ids: &HashMap<String, usize>) -> Option<Field> {
        let mut parts = word.splitn(3, ':');
        let (name, number, of) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let (shape, of) = match of.chars().next()? {
            '*' => (Shape::List, &of[1..]),
            '%' => (Shape::Map, &of[1..]),
            '^' => (Shape::Inline, &of[1..]),
            _ => (Shape::One, of),
        };
        let of = match of {
            "s" => Type::Text,
            "b" => Type::Boolean,
            "i" => Type::Integer,
            "d" => Type::Double,
            "y" => Type::Bytes,
            name => Special::of(name).map_or_else(|| Type::Message(ids[name]), Type::Special),
        };
        Some(Field { number, name: name.to_string(), shape, of })
    }
}
