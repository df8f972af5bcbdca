package org.fishermerge.data.hub;

import java.nio.file.Path;
import java.util.List;

/**
 * Files of a repository at one commit, on disk.
 *
 * @param folder the commit's folder in the cache; it may hold other files that were downloaded
 *     earlier
 * @param commit the commit's hash
 * @param files the wanted files, in the order in which they were wanted
 */
public record Snapshot(Path folder, String commit, List<Path> files) {}
