#include "render/table.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

TEST(Table, NumbersStandRightAndWordsLeft) {
  const std::vector<Column> columns{{.header = "schedule", .align = Align::left},
                                    {.header = "step"}};
  const std::vector<std::vector<std::string>> rows{{"1f1b", "33.000"}, {"gpipe", "4.5"}};
  EXPECT_EQ(format_table(columns, rows),
            "schedule    step\n"
            "--------  ------\n"
            "1f1b      33.000\n"
            "gpipe        4.5\n");
}

TEST(Table, ACellWiderThanItsHeaderWidensTheColumn) {
  const std::vector<Column> columns{{.header = "n"}, {.header = "x"}};
  const std::vector<std::vector<std::string>> rows{{"1000", "1"}};
  EXPECT_EQ(format_table(columns, rows),
            "   n  x\n"
            "----  -\n"
            "1000  1\n");
}

TEST(Table, NoLineEndsInSpaces) {
  const std::vector<Column> columns{{.header = "name", .align = Align::left},
                                    {.header = "note", .align = Align::left}};
  const std::vector<std::vector<std::string>> rows{{"a", ""}, {"b", "long note"}};
  EXPECT_EQ(format_table(columns, rows),
            "name  note\n"
            "----  ---------\n"
            "a\n"
            "b     long note\n");
}

TEST(Table, CharactersCountNotBytes) {
  const std::vector<Column> columns{{.header = "name", .align = Align::left}, {.header = "n"}};
  const std::vector<std::vector<std::string>> rows{{"h\xc3\xa9h\xc3\xa9", "1"}};
  EXPECT_EQ(format_table(columns, rows),
            "name  n\n"
            "----  -\n"
            "h\xc3\xa9h\xc3\xa9  1\n");
}

TEST(Table, WithoutRowsTheHeaderRemains) {
  const std::vector<Column> columns{{.header = "rank"}};
  EXPECT_EQ(format_table(columns, {}), "rank\n----\n");
}

}  // namespace
}  // namespace dualpipe
