//! Which instances are best for the next of many tasks that are all alike.
//!
//! Instances that may take the task lie in buckets of equals. What a strategy compares is either the instance's own
//! (what it has left, how many tasks of the group it runs) or shared by all instances with the same value of an
//! attribute. Instances that agree in all those values form a [`Cell`]: within it the own numbers alone decide, and they
//! order its buckets. The best of all are the first buckets of the best cells. A task that is placed moves one instance to
//! another bucket of its cell, and counts for the values of its cell.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map},
};

use super::{Conditions, Field, GroupKey, Instance, Needs, Random, Resource, Strategy, conditions::AttributesId};

/// What may order the instances of a cell: CPU, memory, tasks of the group.
const OWN_RANKS: usize = 3;

type OwnKey = [u32; OWN_RANKS];

/// See the module.
pub(super) struct Index<'a> {
    conditions: Conditions<'a>,
    ranks: Ranks<'a>,
    /// By instance.
    rows: Vec<Row>,
    /// Tasks of the group by attribute and value.
    tasks: Vec<Vec<u32>>,
    cells: Vec<Cell>,
    /// The best cells; kept for its memory.
    tied: Vec<usize>,
}

/// The numbers of an instance that placing a task changes.
struct Row {
    cpu_free: u32,
    memory_free: u32,
    tasks: u32,
    cell: usize,
}

#[derive(Default)]
struct Cell {
    /// The value of each attribute, as a number.
    values: Vec<usize>,
    /// Instances (in the order of the input) by their own numbers. No bucket is empty.
    buckets: BTreeMap<OwnKey, Vec<usize>>,
}

/// The strategies, less those that an earlier one makes meaningless.
#[derive(Default)]
struct Ranks<'a> {
    order: Vec<Rank>,
    own: Vec<Own>,
    attributes: Vec<&'a str>,
}

/// One strategy: the number of an own rank or of an attribute.
#[derive(Clone, Copy)]
enum Rank {
    Own(usize),
    Shared(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    Cpu,
    Memory,
    Tasks,
}

impl<'a> Index<'a> {
    pub(super) fn new<'i>(needs: &'a Needs, instances: &[Instance<'i>]) -> Self {
        let ranks = Ranks::of(&needs.strategies);
        let mut cells = Cells::new(ranks.attributes.len());
        let counts = !ranks.attributes.is_empty() || ranks.own.contains(&Own::Tasks);
        let group = GroupKey::new(&needs.group);
        let row = |instance: &Instance<'i>| {
            let tasks = if counts { instance.tasks_in_group(group) } else { 0 };
            let cell = cells.of(&ranks.attributes, instance, tasks);
            Row { cpu_free: instance.cpu_free, memory_free: instance.memory_free, tasks, cell }
        };
        let rows = instances.iter().map(row).collect();
        let Cells { cells, tasks, .. } = cells;
        let mut index = Self { conditions: Conditions::of(needs), ranks, rows, tasks, cells, tied: Vec::new() };
        for (number, instance) in instances.iter().enumerate() {
            if index.conditions.fit(instance) {
                index.insert(number);
            }
        }
        index
    }

    /// Takes one of the best instances out of the index; none when no instance may take the task.
    pub(super) fn pick(&mut self, random: &mut Random) -> Option<usize> {
        let mut tied = std::mem::take(&mut self.tied);
        self.best_cells(&mut tied);
        let buckets = || tied.iter().filter_map(|cell| self.cells[*cell].first().map(|(_, bucket)| bucket.as_slice()));
        let chosen = random.below(buckets().map(<[usize]>::len).sum()).and_then(|number| nth(buckets, number));
        self.tied = tied;
        self.remove(chosen?);
        chosen
    }

    /// Takes note that a task was placed on `number`, which [`Self::pick`] took out. It comes back if it may take another.
    pub(super) fn placed(&mut self, number: usize, instance: &Instance<'_>) {
        let row = &mut self.rows[number];
        (row.cpu_free, row.memory_free) = (instance.cpu_free, instance.memory_free);
        row.tasks += 1;
        for (counts, value) in self.tasks.iter_mut().zip(&self.cells[row.cell].values) {
            counts[*value] += 1;
        }
        let fits = match self.conditions.change_with_each_task() {
            true => self.conditions.fit(instance),
            false => self.conditions.room_on(instance),
        };
        if fits {
            self.insert(number);
        }
    }

    fn insert(&mut self, number: usize) {
        let row = &self.rows[number];
        let bucket = self.cells[row.cell].buckets.entry(self.ranks.key(row)).or_default();
        if let Err(position) = bucket.binary_search(&number) {
            bucket.insert(position, number);
        }
    }

    fn remove(&mut self, number: usize) {
        let row = &self.rows[number];
        let btree_map::Entry::Occupied(mut bucket) = self.cells[row.cell].buckets.entry(self.ranks.key(row)) else {
            return;
        };
        if let Ok(position) = bucket.get().binary_search(&number) {
            bucket.get_mut().remove(position);
        }
        if bucket.get().is_empty() {
            bucket.remove();
        }
    }

    fn best_cells(&self, tied: &mut Vec<usize>) {
        tied.clear();
        let mut best = None;
        for (number, cell) in self.cells.iter().enumerate() {
            let Some((key, _)) = cell.first() else { continue };
            let order = best.map_or(Ordering::Less, |best| self.compare((cell, key), best));
            if order.is_lt() {
                tied.clear();
                best = Some((cell, key));
            }
            if order.is_le() {
                tied.push(number);
            }
        }
    }

    fn compare(&self, (cell, key): (&Cell, &OwnKey), (other, other_key): (&Cell, &OwnKey)) -> Ordering {
        let rank = |rank: &Rank| match *rank {
            Rank::Own(number) => key[number].cmp(&other_key[number]),
            Rank::Shared(number) => {
                let counts = &self.tasks[number];
                counts[cell.values[number]].cmp(&counts[other.values[number]])
            }
        };
        self.ranks.order.iter().map(rank).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// Sorts instances into cells.
struct Cells<'i> {
    cells: Vec<Cell>,
    tasks: Vec<Vec<u32>>,
    /// The values of each attribute, numbered as they come.
    values: Vec<BTreeMap<Option<Option<&'i str>>, usize>>,
    by_values: BTreeMap<Vec<usize>, usize>,
    by_attributes: BTreeMap<AttributesId, usize>,
    last: Option<(AttributesId, usize)>,
}

impl<'i> Cells<'i> {
    fn new(attributes: usize) -> Self {
        Self {
            cells: Vec::new(),
            tasks: vec![Vec::new(); attributes],
            values: vec![BTreeMap::new(); attributes],
            by_values: BTreeMap::new(),
            by_attributes: BTreeMap::new(),
            last: None,
        }
    }

    /// The cell of an instance, which has so many tasks of the group.
    fn of(&mut self, attributes: &[&str], instance: &Instance<'i>, tasks: u32) -> usize {
        let id = AttributesId::of(instance);
        let known = self.last.filter(|(last, _)| *last == id).map(|(_, cell)| cell);
        let cell = match known.or_else(|| self.by_attributes.get(&id).copied()) {
            Some(cell) => cell,
            None => self.add(attributes, instance, id),
        };
        self.last = Some((id, cell));
        // Tasks count on every instance that has the value, also on full ones: a full zone is not an empty one.
        for (counts, value) in self.tasks.iter_mut().zip(&self.cells[cell].values) {
            counts[*value] += tasks;
        }
        cell
    }

    fn add(&mut self, attributes: &[&str], instance: &Instance<'i>, id: AttributesId) -> usize {
        let number = |((name, values), counts): ((&&str, &mut BTreeMap<_, usize>), &mut Vec<u32>)| {
            let new = values.len();
            let value = *values.entry(instance.attribute(name)).or_insert(new);
            if value == new {
                counts.push(0);
            }
            value
        };
        let values: Vec<usize> = attributes.iter().zip(&mut self.values).zip(&mut self.tasks).map(number).collect();
        let cells = &mut self.cells;
        let cell = *self.by_values.entry(values).or_insert_with_key(|values| {
            cells.push(Cell { values: values.clone(), buckets: BTreeMap::new() });
            cells.len() - 1
        });
        self.by_attributes.insert(id, cell);
        cell
    }
}

impl Cell {
    fn first(&self) -> Option<(&OwnKey, &Vec<usize>)> {
        self.buckets.first_key_value()
    }
}

impl<'a> Ranks<'a> {
    fn of(strategies: &'a [Strategy]) -> Self {
        let mut ranks = Self::default();
        for strategy in strategies {
            match strategy {
                Strategy::Random => {}
                Strategy::Binpack(Resource::Cpu) => ranks.add_own(Own::Cpu),
                Strategy::Binpack(Resource::Memory) => ranks.add_own(Own::Memory),
                Strategy::Spread(Field::Instance) => ranks.add_own(Own::Tasks),
                Strategy::Spread(Field::Attribute(name)) => ranks.add_attribute(name),
            }
        }
        ranks
    }

    fn add_own(&mut self, own: Own) {
        if !self.own.contains(&own) {
            self.order.push(Rank::Own(self.own.len()));
            self.own.push(own);
        }
    }

    fn add_attribute(&mut self, name: &'a str) {
        if !self.attributes.contains(&name) {
            self.order.push(Rank::Shared(self.attributes.len()));
            self.attributes.push(name);
        }
    }

    fn key(&self, row: &Row) -> OwnKey {
        let mut key = [0; OWN_RANKS];
        for (slot, own) in key.iter_mut().zip(&self.own) {
            *slot = match own {
                Own::Cpu => row.cpu_free,
                Own::Memory => row.memory_free,
                Own::Tasks => row.tasks,
            };
        }
        key
    }
}

/// The number that has `number` smaller ones in all lists together. Each list is sorted, and no number is in two.
fn nth<'a, L: Iterator<Item = &'a [usize]>>(lists: impl Fn() -> L, number: usize) -> Option<usize> {
    let (count, total) = lists().fold((0, 0), |(count, total), list| (count + 1, total + list.len()));
    if count == 1 {
        return lists().next()?.get(number).copied();
    }
    if count * LISTS_FACTOR > total {
        let mut all: Vec<usize> = lists().flatten().copied().collect();
        return (number < all.len()).then(|| *all.select_nth_unstable(number).1);
    }
    let mut low = lists().filter_map(|list| list.first()).min().copied()?;
    let mut high = lists().filter_map(|list| list.last()).max().copied()?;
    while low < high {
        let middle = low + (high - low) / 2;
        let up_to: usize = lists().map(|list| list.partition_point(|one| *one <= middle)).sum();
        if up_to > number {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    (number < total).then_some(low)
}

/// Bisecting looks at each list about so many times; with shorter lists than this it is cheaper to put them together.
const LISTS_FACTOR: usize = 32;
