//! Values that are set against those of a scenario's text, such as `stock.hot_units=500`.

use toml::{Table, Value};

use crate::error::LoadError;

/// Most settings of one scenario.
pub const SETTINGS_MAX: usize = 256;

/// A value for a member of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Names of tables and the member, or the numbers of entries of an array.
    path: Vec<String>,
    value: Value,
}

impl Setting {
    /// Reads `TABLE.MEMBER=VALUE`, such as `target.batch=100` or `stage.0.peak=5k/s`.
    ///
    /// The value is TOML; what is none is a text, so that quotes may be left away.
    ///
    /// # Errors
    ///
    /// Returns a usage error for a text without a name or a value.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let wrong = || {
            let form = "want TABLE.MEMBER=VALUE, such as stock.hot_units=500";
            LoadError::usage(format!("{text:?} sets nothing: {form}"))
        };
        let (path, value) = text.split_once('=').ok_or_else(wrong)?;
        let path: Vec<String> = path.split('.').map(|name| name.trim().to_owned()).collect();
        if path.iter().any(String::is_empty) {
            return Err(wrong());
        }
        let value = value.trim();
        let parsed = format!("value = {value}").parse::<Table>().ok();
        let parsed = parsed.and_then(|mut table| table.remove("value"));
        Ok(Self { path, value: parsed.unwrap_or_else(|| Value::String(value.to_owned())) })
    }

    /// Makes a setting of a member.
    pub fn new(path: &[&str], value: impl Into<Value>) -> Self {
        Self { path: path.iter().map(|&name| name.to_owned()).collect(), value: value.into() }
    }

    /// Makes the settings of one stage in place of all that a scenario has.
    pub fn only_stage(members: &[(&str, &str)]) -> Self {
        let member = |(name, value): &(&str, &str)| ((*name).to_owned(), Value::from(*value));
        let stage: Table = members.iter().map(member).collect();
        Self { path: vec!["stage".to_owned()], value: Value::Array(vec![Value::Table(stage)]) }
    }

    fn put(&self, table: &mut Table) -> Result<(), LoadError> {
        let no_place = |name: &str| {
            let path = self.path.join(".");
            LoadError::usage(format!("{path} can't be set: {name} is no table of this scenario"))
        };
        let Some((last, tables)) = self.path.split_last() else { return Ok(()) };
        let mut place = Place::Table(table);
        for name in tables {
            place = match place {
                Place::Table(table) => {
                    match table.entry(name).or_insert_with(|| Value::Table(Table::new())) {
                        Value::Table(inner) => Place::Table(inner),
                        Value::Array(entries) => Place::Array(entries),
                        _ => return Err(no_place(name)),
                    }
                }
                Place::Array(entries) => {
                    let entry = name.parse::<usize>().ok().and_then(|at| entries.get_mut(at));
                    match entry {
                        Some(Value::Table(inner)) => Place::Table(inner),
                        _ => return Err(no_place(name)),
                    }
                }
            };
        }
        match place {
            Place::Table(table) => {
                table.insert(last.clone(), self.value.clone());
                Ok(())
            }
            Place::Array(_) => Err(no_place(last)),
        }
    }
}

/// Where the next name is looked up.
enum Place<'a> {
    Table(&'a mut Table),
    Array(&'a mut Vec<Value>),
}

/// Returns a scenario's text with the settings in it.
pub(super) fn apply(text: &str, settings: &[Setting]) -> Result<String, LoadError> {
    if settings.len() > SETTINGS_MAX {
        return Err(LoadError::usage(format!("more than {SETTINGS_MAX} values are set")));
    }
    let mut table: Table =
        text.parse().map_err(|e| LoadError::input(format!("the scenario is not TOML: {e}")))?;
    for setting in settings {
        setting.put(&mut table)?;
    }
    toml::to_string(&table).map_err(|e| LoadError::usage(format!("a value can't be set: {e}")))
}

#[cfg(test)]
mod tests {
    use super::super::Scenario;
    use super::*;

    const TEXT: &str = "schema = 1\nname = \"a\"\n[stock]\nhot_units = 7\n\
                        [[stage]]\nshape = \"hold\"\nrate = \"5/s\"\nfor = \"2s\"\n";

    fn set(settings: &[&str]) -> Result<Scenario, String> {
        let settings: Result<Vec<_>, _> =
            settings.iter().map(|text| Setting::parse(text)).collect();
        let settings = settings.map_err(|e| e.to_string())?;
        Scenario::read_with(TEXT, "a.toml", &settings).map_err(|e| e.to_string())
    }

    /// Members that are there are replaced, others are added, with or without quotes.
    #[test]
    fn members_are_set() {
        let scenario = set(&[
            "stock.hot_units=9",
            "stock.hot_limit = 2",
            "stage.0.rate=7k/s",
            "seed=3",
            "description=\"b = c\"",
            "actor.bot.weight=1.5",
        ]);
        let scenario = scenario.expect("known members");
        assert_eq!((scenario.stock.hot_units, scenario.stock.hot_limit), (9, Some(2)));
        assert_eq!((scenario.seed, scenario.description.as_str()), (Some(3), "b = c"));
        assert!(scenario.text.contains("rate = \"7k/s\""), "{}", scenario.text);
        assert_eq!(set(&[]).expect("the text alone").stock.hot_units, 7);
    }

    /// What can't be set names the member and the way out.
    #[test]
    fn what_can_not_be_set_is_told() {
        for (setting, text) in [
            ("stock", "sets nothing: want TABLE.MEMBER=VALUE"),
            ("=1", "sets nothing"),
            ("stock..a=1", "sets nothing"),
            ("stock.hot_unit=1", "did you mean `hot_units`?"),
            ("stock.hot_units=0", "hot_units is 0"),
            ("stock.hot_units=many", "with what was set"),
            ("name.first=a", "name.first can't be set: name is no table"),
            ("stage.1.rate=1/s", "stage.1.rate can't be set: 1 is no table"),
            ("stage.rate=1/s", "stage.rate can't be set: rate is no table"),
        ] {
            let error = set(&[setting]).expect_err(setting);
            assert!(error.contains(text), "{setting}: {error} lacks {text}");
        }
    }
}
