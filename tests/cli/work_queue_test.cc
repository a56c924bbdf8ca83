#include "cli/work_queue.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

constexpr std::size_t wide = 100;

TEST(WorkQueue, HandsRowsBackInOrderHoweverTheyCome) {
  WorkQueue queue(3, 6, wide);
  EXPECT_EQ(queue.take(), 3U);
  EXPECT_EQ(queue.take(), 4U);
  EXPECT_EQ(queue.take(), 5U);
  EXPECT_EQ(queue.take(), std::nullopt);
  queue.put(5, "five ");
  queue.put(4, "four ");
  EXPECT_EQ(queue.rows(), "");
  EXPECT_FALSE(queue.is_done());
  queue.put(3, "three ");
  EXPECT_EQ(queue.rows(), "three four five ");
  EXPECT_EQ(queue.written(), 6U);
  EXPECT_TRUE(queue.is_done());
}

// However slow the first point is, no more rows wait for it than there is room for.
TEST(WorkQueue, HandsOutNoMoreThanItsWindow) {
  WorkQueue queue(0, 10, 2);
  EXPECT_EQ(queue.take_now(), 0U);
  EXPECT_EQ(queue.take_now(), 1U);
  EXPECT_EQ(queue.take_now(), std::nullopt);
  queue.put(1, "b");
  EXPECT_EQ(queue.rows(), "");
  EXPECT_EQ(queue.take_now(), std::nullopt);
  queue.put(0, "a");
  EXPECT_EQ(queue.rows(), "ab");
  EXPECT_EQ(queue.take_now(), 2U);
}

TEST(WorkQueue, HandsOutNothingOnceStopped) {
  WorkQueue queue(0, 10, wide);
  queue.stop();
  EXPECT_EQ(queue.take(), std::nullopt);
  EXPECT_EQ(queue.await_rows(std::chrono::hours(1)), "");
}

TEST(WorkQueue, OfNothingIsDone) {
  EXPECT_TRUE(WorkQueue(4, 4, wide).is_done());
}

std::string text_of(int jobs, std::size_t end) {
  std::string text;
  run_on_threads({.first = 1,
                  .end = end,
                  .row = [](std::size_t point) { return std::to_string(point) + "\n"; },
                  .write =
                      [&](const std::string& rows, std::size_t written) {
                        text += rows;
                        EXPECT_LE(written, end);
                        return true;
                      }},
                 jobs);
  return text;
}

TEST(RunOnThreads, WritesTheSameWithAnyNumberOfThem) {
  constexpr std::size_t end = 2000;
  std::string expected;
  for (std::size_t point = 1; point < end; ++point) {
    expected += std::to_string(point) + "\n";
  }
  for (const int jobs : {1, 2, 7}) {
    EXPECT_EQ(text_of(jobs, end), expected) << jobs;
  }
  EXPECT_EQ(text_of(3, 1), "");
}

TEST(RunOnThreads, StopsWhenNoMoreIsWanted) {
  std::atomic<std::size_t> begun = 0;
  run_on_threads(
      {.first = 0,
       .end = 1'000'000'000,
       .row =
           [&](std::size_t /*point*/) {
             ++begun;
             return std::string("x");
           },
       .write = [](const std::string& rows, std::size_t /*written*/) { return rows.empty(); }},
      2);
  EXPECT_LT(begun, 1'000'000U);
}

TEST(RunOnThreads, RethrowsWhatEitherSideThrows) {
  const auto fails = [](std::size_t point) -> std::string {
    if (point == 5) {
      throw std::runtime_error("row 5");
    }
    return "x";
  };
  const auto takes = [](const std::string& /*rows*/, std::size_t /*written*/) { return true; };
  EXPECT_THROW(run_on_threads({.first = 0, .end = 1000, .row = fails, .write = takes}, 3),
               std::runtime_error);
  const auto works = [](std::size_t /*point*/) { return std::string("x"); };
  const auto refuses = [](const std::string& /*rows*/, std::size_t /*written*/) -> bool {
    throw std::runtime_error("disk full");
  };
  EXPECT_THROW(run_on_threads({.first = 0, .end = 1000, .row = works, .write = refuses}, 3),
               std::runtime_error);
}

}  // namespace
}  // namespace dualpipe
