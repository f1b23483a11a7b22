//! The difference of two texts, line by line, as `difflib` finds and writes it.

use std::collections::HashMap;

/// Lines of what did not change around what did.
const CONTEXT: usize = 3;

/// From this many lines on, lines that are everywhere are no place to begin at.
const POPULAR_FROM: usize = 200;

/// A stretch of lines that both have: where it is in the one, in the other, and how long.
#[derive(Clone, Copy)]
struct Match {
    old: usize,
    new: usize,
    len: usize,
}

/// What becomes of lines `old.0..old.1` of the one in lines `new.0..new.1` of the other.
#[derive(Clone, Copy)]
struct Step {
    equal: bool,
    old: (usize, usize),
    new: (usize, usize),
}

/// A unified diff without names of files.
pub(super) fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    let mut out = String::new();
    for group in grouped(steps(&old, &new)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let (from, to) = ((first.old.0, last.old.1), (first.new.0, last.new.1));
        out.push_str(&format!("@@ -{} +{} @@\n", range(from), range(to)));
        for step in group {
            let mut put = |sign: char, lines: &[&str]| {
                for line in lines {
                    out.push(sign);
                    out.push_str(line);
                    out.push('\n');
                }
            };
            if step.equal {
                put(' ', &old[step.old.0..step.old.1]);
            } else {
                put('-', &old[step.old.0..step.old.1]);
                put('+', &new[step.new.0..step.new.1]);
            }
        }
    }
    out
}

/// Where lines are, counted from one; none are said to be behind the line before them.
fn range((start, end): (usize, usize)) -> String {
    match end - start {
        1 => format!("{}", start + 1),
        0 => format!("{start},0"),
        len => format!("{},{len}", start + 1),
    }
}

fn steps(old: &[&str], new: &[&str]) -> Vec<Step> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (n, line) in new.iter().enumerate() {
        places.entry(line).or_default().push(n);
    }
    if new.len() >= POPULAR_FROM {
        places.retain(|_, places| places.len() <= new.len() / 100 + 1);
    }
    let mut matches = Vec::new();
    collect(old, new, &places, ((0, old.len()), (0, new.len())), &mut matches);
    matches.push(Match { old: old.len(), new: new.len(), len: 0 });
    let (mut i, mut j) = (0, 0);
    let mut steps: Vec<Step> = Vec::new();
    for found in matches {
        if i < found.old || j < found.new {
            steps.push(Step { equal: false, old: (i, found.old), new: (j, found.new) });
        }
        (i, j) = (found.old + found.len, found.new + found.len);
        match steps.last_mut() {
            _ if found.len == 0 => {}
            Some(last) if last.equal => (last.old.1, last.new.1) = (i, j),
            _ => steps.push(Step { equal: true, old: (found.old, i), new: (found.new, j) }),
        }
    }
    steps
}

type Window = ((usize, usize), (usize, usize));

/// The stretches in a window, the longest first found, then those before and behind it.
fn collect(old: &[&str], new: &[&str], places: &HashMap<&str, Vec<usize>>, window: Window, matches: &mut Vec<Match>) {
    let found = longest(old, new, places, window);
    if found.len == 0 {
        return;
    }
    let ((a, b), (c, d)) = window;
    if a < found.old && c < found.new {
        collect(old, new, places, ((a, found.old), (c, found.new)), matches);
    }
    matches.push(found);
    let (i, j) = (found.old + found.len, found.new + found.len);
    if i < b && j < d {
        collect(old, new, places, ((i, b), (j, d)), matches);
    }
}

/// The longest stretch in a window, the earliest of several.
fn longest(old: &[&str], new: &[&str], places: &HashMap<&str, Vec<usize>>, ((a, b), (c, d)): Window) -> Match {
    let mut best = Match { old: a, new: c, len: 0 };
    let mut lengths: HashMap<usize, usize> = HashMap::new();
    for (i, line) in old.iter().enumerate().take(b).skip(a) {
        let mut next = HashMap::new();
        for &j in places.get(line).into_iter().flatten().filter(|j| (c..d).contains(*j)) {
            let len = j.checked_sub(1).and_then(|before| lengths.get(&before)).unwrap_or(&0) + 1;
            next.insert(j, len);
            if len > best.len {
                best = Match { old: i + 1 - len, new: j + 1 - len, len };
            }
        }
        lengths = next;
    }
    while best.old > a && best.new > c && old[best.old - 1] == new[best.new - 1] {
        best = Match { old: best.old - 1, new: best.new - 1, len: best.len + 1 };
    }
    while best.old + best.len < b && best.new + best.len < d && old[best.old + best.len] == new[best.new + best.len] {
        best.len += 1;
    }
    best
}

/// What changed in groups with lines around them, without the long stretches between.
fn grouped(mut steps: Vec<Step>) -> Vec<Vec<Step>> {
    if let Some(first) = steps.first_mut().filter(|step| step.equal) {
        *first = tail(*first);
    }
    if let Some(last) = steps.last_mut().filter(|step| step.equal) {
        *last = head(*last);
    }
    let mut groups = vec![Vec::new()];
    for step in steps {
        let long = step.equal && step.old.1 - step.old.0 > 2 * CONTEXT;
        let rest = if long { tail(step) } else { step };
        if let Some(group) = groups.last_mut().filter(|_| long) {
            group.push(head(step));
            groups.push(Vec::new());
        }
        if let Some(group) = groups.last_mut() {
            group.push(rest);
        }
    }
    groups.retain(|group| group.iter().any(|step| !step.equal));
    groups
}

fn head(step: Step) -> Step {
    let cut = |(start, end): (usize, usize)| (start, end.min(start + CONTEXT));
    Step { old: cut(step.old), new: cut(step.new), ..step }
}

fn tail(step: Step) -> Step {
    let cut = |(start, end): (usize, usize)| (start.max(end.saturating_sub(CONTEXT)), end);
    Step { old: cut(step.old), new: cut(step.new), ..step }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::difference;

    #[test]
    fn nothing_changed_is_no_text() {
        assert_eq!(difference("a\nb", "a\nb"), "");
    }

    #[test]
    fn groups_have_three_lines_around_them() {
        let old: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
        let mut new = old.clone();
        new[4] = "five".into();
        new.remove(15);
        new.push("more".into());
        expect![[r#"
            @@ -2,7 +2,7 @@
             2
             3
             4
            -5
            +five
             6
             7
             8
            @@ -13,8 +13,8 @@
             13
             14
             15
            -16
             17
             18
             19
             20
            +more
        "#]]
        .assert_eq(&difference(&old.join("\n"), &new.join("\n")));
    }

    #[test]
    fn empty_ranges_are_behind_the_line_before() {
        assert_eq!(range_of("a", "a\nb"), "@@ -1 +1,2 @@");
        assert_eq!(super::range((0, 0)), "0,0");
    }

    fn range_of(old: &str, new: &str) -> String {
        difference(old, new).lines().next().unwrap_or_default().to_owned()
    }
}
