package dev.heed.example;

/** What is known does not go together with what is told: begin anew. */
final class ResyncException extends Exception {
  private static final long serialVersionUID = 1;

  ResyncException(String why) {
    super("resync: " + why);
  }
}
